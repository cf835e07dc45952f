//! Which nodes of a grammar define something, and which may hold such nodes: a table for each language, by the numbers of its node kinds.

use std::collections::HashMap;
use std::num::NonZeroU16;
use std::sync::OnceLock;

use crate::kind::Kind;
use crate::language::Language;

/// What to do at a node of some kind.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Rule {
    /// Nothing inside is a symbol.
    Skip,
    Descend,
    /// Belongs to the definition directly below it.
    Comment,
    /// Likewise, and is code.
    Attribute,
    /// Belongs to the definition inside it: decorators, `export`.
    Wrap,
    /// Likewise where there is but one inside.
    WrapOne,
    Define(Kind, Shape),
    /// A function or class that is a value: it is a symbol under the name that it is given.
    Value(Kind),
}

/// Where a definition has its name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Shape {
    /// In the field `name`.
    Named,
    /// Likewise, or in `property` or `key`; a symbol only where a function or class is the value, or at the top of a file.
    Declarator,
    /// A symbol only where a function or class is the value.
    Member,
    /// On the left of an assignment.
    Left,
    /// In the fields `type` and `trait`.
    Impl,
    /// The type of its receiver goes before.
    Receiver,
    /// Its type says which kind it is.
    GoType,
}

/// The fields that definitions are read by.
#[derive(Debug, Default)]
pub(crate) struct Fields {
    pub(crate) name: Option<NonZeroU16>,
    pub(crate) body: Option<NonZeroU16>,
    pub(crate) value: Option<NonZeroU16>,
    pub(crate) left: Option<NonZeroU16>,
    pub(crate) right: Option<NonZeroU16>,
    pub(crate) kind: Option<NonZeroU16>,
    pub(crate) of_trait: Option<NonZeroU16>,
    pub(crate) receiver: Option<NonZeroU16>,
    pub(crate) property: Option<NonZeroU16>,
    pub(crate) key: Option<NonZeroU16>,
}

#[derive(Debug)]
pub(crate) struct Table {
    rules: Vec<Rule>,
    marks: Vec<u8>,
    pub(crate) fields: Fields,
}

impl Table {
    /// The rule for nodes of the numbered kind. Errors are looked into: what parses is kept.
    pub(crate) fn rule(&self, kind: u16) -> Rule {
        self.rules.get(usize::from(kind)).copied().unwrap_or(Rule::Descend)
    }

    /// Whether the text of such a node counts as it stands: strings, whose white space is part of them.
    pub(crate) fn is_verbatim(&self, kind: u16) -> bool {
        self.marks.get(usize::from(kind)).is_some_and(|marks| marks & VERBATIM != 0)
    }

    pub(crate) fn is_name(&self, kind: u16) -> bool {
        self.marks.get(usize::from(kind)).is_some_and(|marks| marks & NAME != 0)
    }

    pub(crate) fn is_import(&self, kind: u16) -> bool {
        self.marks.get(usize::from(kind)).is_some_and(|marks| marks & IMPORT != 0)
    }

    pub(crate) fn of(language: Language) -> &'static Self {
        static TABLES: [OnceLock<Table>; Language::ALL.len()] = [const { OnceLock::new() }; Language::ALL.len()];
        TABLES[language as usize].get_or_init(|| Self::new(language))
    }

    fn new(language: Language) -> Self {
        let grammar = language.grammar();
        let named: HashMap<&str, Rule> = rules(language).into_iter().collect();
        let other = if language.is_script() { Rule::Descend } else { Rule::Skip };
        let kinds = 0..grammar.node_kind_count() as u16;
        let name = |kind| grammar.node_kind_for_id(kind).unwrap_or_default();
        let rule = |kind| match named.get(name(kind)) {
            _ if !grammar.node_kind_is_named(kind) => Rule::Skip,
            Some(rule) => *rule,
            None if is_verbatim(name(kind)) => Rule::Skip,
            None => other,
        };
        let marks = |kind| {
            let (name, named) = (name(kind), grammar.node_kind_is_named(kind));
            let mark = |is: bool, mark: u8| if named && is { mark } else { 0 };
            mark(is_verbatim(name), VERBATIM) | mark(name.ends_with("identifier"), NAME) | mark(is_import(name), IMPORT)
        };
        let field = |name: &str| grammar.field_id_for_name(name);
        Self {
            rules: kinds.clone().map(rule).collect(),
            marks: kinds.map(marks).collect(),
            fields: Fields {
                name: field("name"),
                body: field("body"),
                value: field("value"),
                left: field("left"),
                right: field("right"),
                kind: field("type"),
                of_trait: field("trait"),
                receiver: field("receiver"),
                property: field("property"),
                key: field("key"),
            },
        }
    }
}

const VERBATIM: u8 = 1;
const NAME: u8 = 2;
const IMPORT: u8 = 4;

fn is_import(name: &str) -> bool {
    ["import_statement", "import_from_statement", "future_import_statement", "use_declaration", "import_spec"]
        .contains(&name)
        || ["import_declaration", "extern_crate_declaration"].contains(&name)
}

fn is_verbatim(name: &str) -> bool {
    ["string", "template", "char", "regex", "jsx_text", "rune", "text_block"].iter().any(|part| name.contains(part))
        && !name.contains("concatenated")
        && !name.contains("statement")
}

fn rules(language: Language) -> Vec<(&'static str, Rule)> {
    use Kind::{Class, Enum, Function, Impl, Interface, Macro, Method, Namespace, Struct, Type, Variable};
    use Rule::{Attribute, Comment, Define, Descend, Value, Wrap, WrapOne};
    use Shape::{Declarator, GoType, Left, Member, Named, Receiver};
    let mut rules = Vec::new();
    let mut all = |rule, names: &[&'static str]| rules.extend(names.iter().map(|name| (*name, rule)));
    match language {
        Language::Python => {
            all(Descend, &["module", "block", "if_statement", "elif_clause", "else_clause", "try_statement"]);
            all(
                Descend,
                &["except_clause", "except_group_clause", "finally_clause", "with_statement", "for_statement"],
            );
            all(Descend, &["while_statement", "match_statement", "case_clause", "expression_statement"]);
            all(Comment, &["comment"]);
            all(Wrap, &["decorated_definition"]);
            all(Define(Function, Named), &["function_definition"]);
            all(Define(Class, Named), &["class_definition"]);
            all(Define(Variable, Left), &["assignment"]);
            all(Define(Type, Left), &["type_alias_statement"]);
        }
        Language::JavaScript | Language::TypeScript | Language::Tsx => {
            all(Comment, &["comment", "html_comment"]);
            all(Attribute, &["decorator"]);
            all(Wrap, &["export_statement", "ambient_declaration"]);
            all(WrapOne, &["lexical_declaration", "variable_declaration", "using_declaration"]);
            all(
                Define(Function, Named),
                &["function_declaration", "generator_function_declaration", "function_signature"],
            );
            all(Define(Class, Named), &["class_declaration", "abstract_class_declaration"]);
            all(Define(Method, Named), &["method_definition", "method_signature", "abstract_method_signature"]);
            all(Define(Interface, Named), &["interface_declaration"]);
            all(Define(Type, Named), &["type_alias_declaration"]);
            all(Define(Enum, Named), &["enum_declaration"]);
            all(Define(Namespace, Named), &["internal_module", "module"]);
            all(Define(Variable, Declarator), &["variable_declarator"]);
            all(Define(Variable, Member), &["field_definition", "public_field_definition", "pair"]);
            all(Define(Variable, Left), &["assignment_expression"]);
            all(Value(Function), &["arrow_function", "function_expression", "generator_function"]);
            all(Value(Class), &["class"]);
        }
        Language::Rust => {
            all(Descend, &["source_file", "declaration_list", "block", "foreign_mod_item"]);
            all(Comment, &["line_comment", "block_comment"]);
            all(Attribute, &["attribute_item"]);
            all(Define(Function, Named), &["function_item", "function_signature_item"]);
            all(Define(Struct, Named), &["struct_item", "union_item"]);
            all(Define(Enum, Named), &["enum_item"]);
            all(Define(Interface, Named), &["trait_item"]);
            all(Define(Type, Named), &["type_item"]);
            all(Define(Impl, Shape::Impl), &["impl_item"]);
            all(Define(Namespace, Named), &["mod_item"]);
            all(Define(Variable, Declarator), &["const_item", "static_item"]);
            all(Define(Macro, Named), &["macro_definition"]);
        }
        Language::Go => {
            all(Descend, &["source_file", "var_spec_list"]);
            all(Comment, &["comment"]);
            all(WrapOne, &["const_declaration", "var_declaration", "type_declaration"]);
            all(Define(Function, Named), &["function_declaration"]);
            all(Define(Method, Receiver), &["method_declaration"]);
            all(Define(Type, GoType), &["type_spec", "type_alias"]);
            all(Define(Variable, Declarator), &["const_spec", "var_spec"]);
        }
        Language::Java => {
            all(Descend, &["program", "class_body", "interface_body", "enum_body", "enum_body_declarations"]);
            all(Descend, &["annotation_type_body"]);
            all(Comment, &["line_comment", "block_comment"]);
            all(Define(Class, Named), &["class_declaration", "record_declaration"]);
            all(Define(Interface, Named), &["interface_declaration", "annotation_type_declaration"]);
            all(Define(Enum, Named), &["enum_declaration"]);
            all(
                Define(Method, Named),
                &["method_declaration", "constructor_declaration", "compact_constructor_declaration"],
            );
        }
    }
    rules
}
