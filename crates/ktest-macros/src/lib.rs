// SPDX-License-Identifier: GPL-2.0-only
//! The attributes `#[ktest]` and `#[kbench]`, without any dependency: a module's build compiles it.
#![forbid(unsafe_code)]

use proc_macro::{TokenStream, TokenTree};

/// Makes a function a test of its module; see the crate `ktest`.
///
/// The test is called as the function is, with the path of its module, or as `name = "…"` says. `of = "FUNCTION: KINDS"`,
/// as often as wanted, says which function of the interface between C and Rust it calls, and with arguments of which
/// kinds: `good`, `edge`, `bad`.
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
    let all =
        Said::read(kind, &words(arguments)).and_then(|said| Ok((said, function(&words(item.clone()))?)));
    let added = match all {
        Ok((said, function)) => expansion(kind, &function, &said),
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

/// What the attribute's arguments say, as literals.
#[derive(Debug, Default, PartialEq, Eq)]
struct Said {
    name: Option<String>,
    /// What it claims to be a test of.
    of: Vec<String>,
}

impl Said {
    fn read(kind: Kind, words: &[String]) -> Result<Self, &'static str> {
        let form = match kind {
            Kind::Test => "#[ktest] takes nothing, or `name = \"…\"` and `of = \"FUNCTION: KINDS\"`",
            Kind::Bench => "#[kbench] takes nothing, or `name = \"…\"`",
        };
        let mut said = Self::default();
        for argument in words.split(|word| word == ",").filter(|argument| !argument.is_empty()) {
            let [key, equals, value] = argument else { return Err(form) };
            if equals != "=" || !value.starts_with('"') {
                return Err(form);
            }
            match (kind, key.as_str()) {
                (_, "name") if said.name.is_none() => said.name = Some(value.clone()),
                (Kind::Test, "of") => said.of.push(value.clone()),
                _ => return Err(form),
            }
        }
        Ok(said)
    }
}

/// The name of a function.
fn function(words: &[String]) -> Result<String, &'static str> {
    let mut words = words.iter().skip_while(|word| *word != "fn");
    words.nth(1).cloned().ok_or("ATTRIBUTE is for a function")
}

/// What goes beside the function: an entry in the section of the tests, or a test of the host's.
fn expansion(kind: Kind, function: &str, said: &Said) -> String {
    let plain = function.trim_start_matches("r#");
    let own = format!("::core::module_path!(), \"::{plain}\"");
    let name = said.name.as_deref().unwrap_or(&own);
    let claims: String = said.of.iter().map(|of| claim(of)).collect();
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
            {claims}
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

/// An entry in the section of what tests say of themselves.
fn claim(of: &str) -> String {
    format!(
        "const _: () = {{
            #[used]
            #[unsafe(link_section = \".ktest_claims\")]
            static CLAIM: ::ktest::Claim = ::ktest::Claim::new(&CASE, ::core::concat!({of}, \"\\0\"));
        }};"
    )
}

#[cfg(test)]
mod tests {
    use super::{Kind, Said, expansion, function};

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
    fn a_test_can_be_given_a_name_and_what_it_is_of() {
        let said = |text: &str| Said::read(Kind::Test, &words(text));
        assert_eq!(said(""), Ok(Said::default()));
        let name = |name: &str| Some(name.to_owned());
        assert_eq!(said("name = \"a.b\""), Ok(Said { name: name("\"a.b\""), of: Vec::new() }));
        let of = vec!["\"f:good\"".to_owned(), "\"g:bad\"".to_owned()];
        assert_eq!(
            said("of = \"f:good\" , name = \"a\" , of = \"g:bad\" ,"),
            Ok(Said { name: name("\"a\""), of })
        );
        for other in
            ["name", "name = adds", "adds", "name = \"a\" , \"b\"", "name = \"a\" , name = \"b\"", "of = f"]
        {
            assert!(said(other).is_err(), "{other}");
        }
        assert!(Said::read(Kind::Bench, &words("of = \"f:good\"")).is_err());
    }

    #[test]
    fn without_a_name_a_test_is_called_as_its_function() {
        let none = Said::default();
        let adds = expansion(Kind::Test, "adds", &none);
        assert!(adds.contains("concat!(::core::module_path!(), \"::adds\", \"\\0\")"));
        assert!(!adds.contains("ktest_claims"));
        assert!(expansion(Kind::Test, "r#match", &none).contains("\"::match\""));
        let said = Said { name: Some("\"a.b\"".to_owned()), of: vec!["\"f: good\"".to_owned()] };
        let named = expansion(Kind::Test, "adds", &said);
        assert!(named.contains("concat!(\"a.b\", \"\\0\")") && !named.contains("module_path"));
        assert!(named.contains("Claim::new(&CASE, ::core::concat!(\"f: good\", \"\\0\"))"), "{named}");
        let bench = expansion(Kind::Bench, "adds", &none);
        assert!(bench.contains("Case::bench(") && bench.contains("&mut ::ktest::Bench"));
    }
}
