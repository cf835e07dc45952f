//! Tells the compiler what kind of Python this is built for: builds without the interpreter's lock need one of their own.

fn main() {
    pyo3_build_config::use_pyo3_cfgs();
}
