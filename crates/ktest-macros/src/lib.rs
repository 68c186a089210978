// SPDX-License-Identifier: GPL-2.0-only
//! The attributes `#[ktest]` and `#[kbench]`, without any dependency: a module's build compiles it.
#![forbid(unsafe_code)]

use proc_macro::{TokenStream, TokenTree};

/// Makes a function a test of its module; see the crate `ktest`.
///
/// The test is called as the function is, with the path of its module, or as `name = "…"` says.
#[proc_macro_attribute]
pub fn ktest(arguments: TokenStream, item: TokenStream) -> TokenStream {
    expanded(Kind::Test, arguments, item)
}

/// Makes a function a benchmark of its module; see the crate `ktest`. It is called as a test is.
#[proc_macro_attribute]
pub fn kbench(arguments: TokenStream, item: TokenStream) -> TokenStream {
    expanded(Kind::Bench, arguments, item)
}

/// What a function is made.
#[derive(Clone, Copy)]
enum Kind {
    Test,
    Bench,
}

/// The function, and what goes beside it.
fn expanded(kind: Kind, arguments: TokenStream, item: TokenStream) -> TokenStream {
    let names = named(&words(arguments)).and_then(|name| Ok((name, function(&words(item.clone()))?)));
    let added = match names {
        Ok((name, function)) => expansion(kind, &function, name.as_deref()),
        Err(what) => {
            let what = what.replace("ATTRIBUTE", kind.attribute());
            format!("::core::compile_error!({what:?});")
        }
    };
    let mut all = item;
    all.extend(added.parse::<TokenStream>());
    all
}

impl Kind {
    fn attribute(self) -> &'static str {
        match self {
            Self::Test => "#[ktest]",
            Self::Bench => "#[kbench]",
        }
    }
}

/// What a function or an attribute is made of, as far as it is looked at here; a group is one word.
fn words(tokens: TokenStream) -> Vec<String> {
    let word = |token: TokenTree| match token {
        TokenTree::Group(_) => "()".to_owned(),
        other => other.to_string(),
    };
    tokens.into_iter().map(word).collect()
}

/// The name that the attribute's arguments give, as a literal.
fn named(words: &[String]) -> Result<Option<String>, &'static str> {
    match words.iter().map(String::as_str).collect::<Vec<_>>().as_slice() {
        [] => Ok(None),
        ["name", "=", name] if name.starts_with('"') => Ok(Some((*name).to_owned())),
        _ => Err("ATTRIBUTE takes nothing, or `name = \"…\"`"),
    }
}

/// The name of a function.
fn function(words: &[String]) -> Result<String, &'static str> {
    let mut words = words.iter().skip_while(|word| *word != "fn");
    words.nth(1).cloned().ok_or("ATTRIBUTE is for a function")
}

/// What goes beside the function: an entry in the section of the tests, or a test of the host's.
fn expansion(kind: Kind, function: &str, name: Option<&str>) -> String {
    let plain = function.trim_start_matches("r#");
    let own = format!("::core::module_path!(), \"::{plain}\"");
    let name = name.unwrap_or(&own);
    let (argument, settle, new, on_host) = match kind {
        Kind::Test => ("Test", format!("::ktest::Outcome::settle({function}(it), it)"), "new", "on_host"),
        Kind::Bench => {
            let settle = format!("let outcome = {function}(it); ::ktest::Bench::settle(it, outcome)");
            ("Bench", settle, "bench", "bench_on_host")
        }
    };
    format!(
        "#[cfg(not(test))]
        const _: () = {{
            extern \"C\" fn run_{plain}(it: &mut ::ktest::{argument}) {{
                {settle};
            }}
            static CASE: ::ktest::Case = ::ktest::Case::{new}(::core::concat!({name}, \"\\0\"), run_{plain});
            #[used]
            #[unsafe(link_section = \".ktests\")]
            static ENTRY: &::ktest::Case = &CASE;
        }};
        #[cfg(test)]
        mod {function} {{
            #[test]
            fn on_host() {{
                ::ktest::{on_host}(super::{function});
            }}
        }}"
    )
}

#[cfg(test)]
mod tests {
    use super::{Kind, expansion, function, named};

    fn words(text: &str) -> Vec<String> {
        text.split_whitespace().map(str::to_owned).collect()
    }

    #[test]
    fn functions_are_found_behind_whatever_is_before_them() {
        assert_eq!(function(&words("# () pub () fn adds () ()")), Ok("adds".to_owned()));
        for other in ["struct Adds ;", "", "fn"] {
            assert_eq!(function(&words(other)), Err("ATTRIBUTE is for a function"), "{other}");
        }
    }

    #[test]
    fn a_test_can_be_given_a_name() {
        assert_eq!(named(&[]), Ok(None));
        assert_eq!(named(&words("name = \"a.b\"")), Ok(Some("\"a.b\"".to_owned())));
        for other in ["name", "name = adds", "adds", "name = \"a\" , \"b\""] {
            assert!(named(&words(other)).is_err(), "{other}");
        }
    }

    #[test]
    fn without_a_name_a_test_is_called_as_its_function() {
        assert!(
            expansion(Kind::Test, "adds", None)
                .contains("concat!(::core::module_path!(), \"::adds\", \"\\0\")")
        );
        assert!(expansion(Kind::Test, "r#match", None).contains("\"::match\""));
        let named = expansion(Kind::Test, "adds", Some("\"a.b\""));
        assert!(named.contains("concat!(\"a.b\", \"\\0\")") && !named.contains("module_path"));
        let bench = expansion(Kind::Bench, "adds", None);
        assert!(bench.contains("Case::bench(") && bench.contains("&mut ::ktest::Bench"));
    }
}
