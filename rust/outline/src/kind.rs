//! What a symbol can be.

/// The kind of a symbol, in the words of most languages; see `docs/outline.md` for which construct is which.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[repr(u8)]
pub enum Kind {
    /// A whole file; [`crate::Outline`]s hold none.
    Module = 0,
    Class = 1,
    /// Also a union.
    Struct = 2,
    Enum = 3,
    /// Also a trait and an annotation type.
    Interface = 4,
    /// An alias, or a named type that is none of the above.
    Type = 5,
    /// What is implemented for a type.
    Impl = 6,
    /// A module inside a file.
    Namespace = 7,
    Function = 8,
    /// A function of a class, struct, enum, interface or impl; also a constructor.
    Method = 9,
    /// Also a constant and a static.
    Variable = 10,
    Macro = 11,
}

impl Kind {
    pub const ALL: [Self; 12] = [
        Self::Module,
        Self::Class,
        Self::Struct,
        Self::Enum,
        Self::Interface,
        Self::Type,
        Self::Impl,
        Self::Namespace,
        Self::Function,
        Self::Method,
        Self::Variable,
        Self::Macro,
    ];

    pub const fn name(self) -> &'static str {
        match self {
            Self::Module => "module",
            Self::Class => "class",
            Self::Struct => "struct",
            Self::Enum => "enum",
            Self::Interface => "interface",
            Self::Type => "type",
            Self::Impl => "impl",
            Self::Namespace => "namespace",
            Self::Function => "function",
            Self::Method => "method",
            Self::Variable => "variable",
            Self::Macro => "macro",
        }
    }

    /// Whether functions directly inside are its methods.
    pub(crate) const fn has_methods(self) -> bool {
        matches!(self, Self::Class | Self::Struct | Self::Enum | Self::Interface | Self::Impl)
    }

    /// Whether its body is what it does, which a skeleton leaves out, and not what it is.
    pub(crate) const fn is_callable(self) -> bool {
        matches!(self, Self::Function | Self::Method)
    }
}
