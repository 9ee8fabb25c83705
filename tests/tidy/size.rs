//! Sizes that a reader can hold: of files, functions and argument lists.

use super::{Finding, Rule, Source};

/// Lines of a file before its `#[cfg(test)] mod tests`.
const FILE_LINES_MAX: usize = 500;

/// Lines between the braces of a function.
const FUNCTION_LINES_MAX: usize = 70;

/// Arguments of a function, `self` not counted.
const ARGUMENTS_MAX: usize = 6;

/// Lines of `src/main.rs`.
const MAIN_LINES_MAX: usize = 50;

/// Judges the sizes in one file.
pub(crate) fn check(source: &Source) -> Vec<Finding> {
    if source.is_test {
        return Vec::new();
    }
    let finding = |line, what| Finding::new(Rule::Size, &source.path, line, what);
    let mut findings = Vec::new();
    let is_main = source.path == "src/main.rs";
    let lines_max = if is_main { MAIN_LINES_MAX } else { FILE_LINES_MAX };
    let all = source.text.lines().count();
    let lines = source.facts.tests_line.filter(|_| !is_main).map_or(all, |line| line - 1);
    if lines > lines_max {
        findings.push(finding(lines, format!("{lines} lines of at most {lines_max}: split it")));
    }
    for function in &source.facts.functions {
        let (name, line) = (&function.name, function.line);
        if function.body > FUNCTION_LINES_MAX {
            let what = format!("`{name}` has {} lines of at most {FUNCTION_LINES_MAX}", function.body);
            findings.push(finding(line, what));
        }
        if function.arguments > ARGUMENTS_MAX {
            let what = format!("`{name}` takes {} of at most {ARGUMENTS_MAX} arguments", function.arguments);
            findings.push(finding(line, what));
        }
    }
    findings
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refusals(path: &str, text: &str) -> Vec<String> {
        let source = Source::parse(path, text).unwrap();
        check(&source).iter().map(Finding::to_string).collect()
    }

    const NONE: [&str; 0] = [];

    #[test]
    fn a_file_is_measured_up_to_its_tests() {
        let tests = format!("#[cfg(test)]\nmod tests {{\n{}}}\n", "// x\n".repeat(900));
        let body = |lines| "const _: () = ();\n".repeat(lines);
        assert_eq!(refusals("src/base/a.rs", &(body(500) + &tests)), NONE);
        assert_eq!(
            refusals("src/base/a.rs", &(body(501) + &tests)),
            ["src/base/a.rs:501: size: 501 lines of at most 500: split it"]
        );
        assert_eq!(refusals("src/main.rs", &body(50)), NONE);
        assert_eq!(refusals("src/main.rs", &body(51)).len(), 1);
    }

    #[test]
    fn a_function_is_measured_between_its_braces() {
        let function = |lines| format!("fn f() {{\n{}}}", "g();\n".repeat(lines));
        assert_eq!(refusals("src/base/a.rs", &function(70)), NONE);
        assert_eq!(refusals("src/base/a.rs", &function(71)), ["src/base/a.rs:1: size: `f` has 71 lines of at most 70"]);
        let method = format!("impl X {{ {} }}", function(71));
        assert_eq!(refusals("src/base/a.rs", &method).len(), 1);
        let inner = format!("trait T {{ fn f() {{ {} }} }}", function(71));
        assert_eq!(refusals("src/base/a.rs", &inner).len(), 2);
    }

    #[test]
    fn arguments_are_counted_without_self() {
        let arguments = "a: u8, b: u8, c: u8, d: u8, e: u8, f: u8";
        let text = format!("impl X {{ fn f(&self, {arguments}) {{}} }}");
        assert_eq!(refusals("src/base/a.rs", &text), NONE);
        let text = format!("fn f({arguments}, g: u8) {{}}");
        assert_eq!(refusals("src/base/a.rs", &text).len(), 1);
    }

    #[test]
    fn test_code_has_no_size() {
        let text = "#[cfg(test)] mod tests { fn f(a: A, b: A, c: A, d: A, e: A, f: A, g: A) {} }";
        assert_eq!(refusals("src/base/a.rs", text), NONE);
    }
}
