// SPDX-License-Identifier: GPL-2.0-only
//! The functions that a C header declares, with what the comment before each says of it. It reads what headers of
//! interfaces are made of, comments, directives, types and prototypes; the C compiler judges whether it is C.

/// A function that a header declares.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Declared {
    /// Its name.
    pub(super) name: String,
    /// The line on which its declaration begins, from 1.
    pub(super) line: usize,
    /// Whether it has parameters.
    pub(super) takes_arguments: bool,
    /// Whether its comment names an errno or NULL behind `Return:`.
    pub(super) can_fail: bool,
    /// Whether its comment says `Context: any`.
    pub(super) any_context: bool,
}

/// The functions that a header declares, in their order. Definitions and types are passed over.
pub(super) fn functions(text: &str) -> Vec<Declared> {
    let mut found = Vec::new();
    let mut scan = Scan { rest: text, line: 1 };
    let (mut comment, mut declaration, mut begins) = (String::new(), String::new(), 1);
    while let Some(piece) = scan.next() {
        match piece {
            Piece::Comment(text) if declaration.trim().is_empty() => text.clone_into(&mut comment),
            Piece::Comment(_) => declaration.push(' '),
            Piece::Directive => comment.clear(),
            // A function's body, or what a type has in it.
            Piece::Block if declaration.contains('(') => {
                declaration.clear();
                comment.clear();
            }
            Piece::Block => declaration.push_str("{}"),
            Piece::End => {
                found.extend(function(&declaration, begins, &comment));
                declaration.clear();
                comment.clear();
            }
            Piece::Other(letter) => {
                if declaration.trim().is_empty() {
                    begins = scan.line;
                }
                declaration.push(letter);
            }
        }
    }
    found
}

/// What a header is made of, as far as it is of interest.
enum Piece<'t> {
    Comment(&'t str),
    Directive,
    Block,
    End,
    Other(char),
}

struct Scan<'t> {
    rest: &'t str,
    /// The line that the last piece began on.
    line: usize,
}

impl<'t> Scan<'t> {
    fn next(&mut self) -> Option<Piece<'t>> {
        let (rest, first) = (self.rest, self.rest.chars().next()?);
        let up_to = |end: &str| rest.find(end).map_or(rest.len(), |at| at + end.len());
        let (length, piece) = match first {
            '/' if rest.starts_with("/*") => {
                let length = up_to("*/");
                (length, Piece::Comment(&rest[..length]))
            }
            '/' if rest.starts_with("//") => (up_to("\n"), Piece::Comment("")),
            '#' => (directive(rest), Piece::Directive),
            '{' => (block(rest), Piece::Block),
            ';' => (1, Piece::End),
            '\n' => (1, Piece::Other(' ')),
            other => (other.len_utf8(), Piece::Other(other)),
        };
        let (taken, rest) = rest.split_at(length);
        self.line += taken.matches('\n').count();
        self.rest = rest;
        Some(piece)
    }
}

/// The length of a directive, with the lines that it goes on in.
fn directive(text: &str) -> usize {
    let mut length = 0;
    for line in text.split_inclusive('\n') {
        length += line.len();
        if !line.trim_end().ends_with('\\') {
            break;
        }
    }
    length
}

/// The length of what is between braces, with them.
fn block(text: &str) -> usize {
    let mut depth = 0_usize;
    for (at, letter) in text.char_indices() {
        match letter {
            '{' => depth += 1,
            '}' if depth == 1 => return at + 1,
            '}' => depth -= 1,
            _ => {}
        }
    }
    text.len()
}

/// The function of a declaration, if it is that of one.
fn function(declaration: &str, line: usize, comment: &str) -> Option<Declared> {
    let declaration = without_attributes(declaration);
    let (head, parameters) = declaration.split_once('(')?;
    let head = head.trim_end();
    let is_letter = |c: char| c.is_ascii_alphanumeric() || c == '_';
    let (before, name) = head.split_at(head.trim_end_matches(is_letter).len());
    // Without a type before it, it is the type: `void (*handler)(int)`.
    if name.is_empty() || before.trim().is_empty() || before.split_whitespace().any(|word| word == "typedef")
    {
        return None;
    }
    let parameters = parameters.rsplit_once(')').map_or(parameters, |(inside, _)| inside).trim();
    let returned = comment.split_once("Return:").map_or("", |(_, after)| after);
    let context = comment
        .split_once("Context:")
        .map_or("", |(_, after)| after)
        .trim_start_matches([' ', '\t', '*', '\n']);
    Some(Declared {
        name: name.to_owned(),
        line,
        takes_arguments: !matches!(parameters, "" | "void"),
        can_fail: names_errno(returned) || returned.split(|c| !is_letter(c)).any(|word| word == "NULL"),
        any_context: context
            .split(|c| !is_letter(c))
            .next()
            .is_some_and(|word| word.eq_ignore_ascii_case("any")),
    })
}

/// Whether a text has something like `-EINVAL` in it.
fn names_errno(text: &str) -> bool {
    text.match_indices("-E").any(|(at, _)| text[at + 2..].starts_with(|c: char| c.is_ascii_uppercase()))
}

/// A declaration without each `__attribute__((…))`.
fn without_attributes(declaration: &str) -> String {
    const WORD: &str = "__attribute__";
    let mut text = declaration.to_owned();
    while let Some(at) = text.find(WORD) {
        let rest = &text[at + WORD.len()..];
        let mut depth = 0_usize;
        let end = rest.char_indices().find_map(|(end, letter)| {
            match letter {
                '(' => depth += 1,
                ')' if depth <= 1 => return Some(end + 1),
                ')' => depth -= 1,
                _ => {}
            }
            None
        });
        text.replace_range(at..end.map_or(text.len(), |end| at + WORD.len() + end), " ");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Each function with its line, and what is so of it.
    fn found(text: &str) -> Vec<String> {
        let say = |one: Declared| {
            let mut words = format!("{} {}", one.line, one.name);
            for (is_so, word) in
                [(one.takes_arguments, "takes"), (one.can_fail, "fails"), (one.any_context, "any")]
            {
                if is_so {
                    words.push_str(&format!(" {word}"));
                }
            }
            words
        };
        functions(text).into_iter().map(say).collect()
    }

    #[test]
    fn functions_are_found_among_all_that_a_header_has() {
        let text = "#ifndef X_H\n#define X_H(a) \\\n\tf(a);\n#include <linux/types.h>\n\n/* -EIO: of nothing */\n\
                    #define LIMIT 4\nstruct s { int (*call)(int); };\ntypedef int (*callback)(void *);\n\
                    extern int variable;\nstatic inline int inside(int a)\n{\n\tif (a) { return 1; }\n\treturn 0;\n}\n\
                    int32_t first(const struct s *of,\n\t\tint (*call)(void *), int b);\nvoid __noreturn last(void);\n\
                    const char *__attribute__((pure)) text(void); // not (this)\n#endif\n";
        assert_eq!(found(text), ["16 first takes", "18 last", "19 text"]);
    }

    #[test]
    fn a_comment_says_how_a_function_fails_and_where_it_may_be_called() {
        let text = "/**\n * a() - does\n * @of: not NULL\n *\n * Context: Any context.\n * Return: 0; -EINVAL: no.\n */\nint a(void *of);\n\
                    /* Context: process.\n * Return: NULL where\n * there is none */\nvoid *b(void);\n\
                    /* Return: a number. Context: any. */\nint c(void);\nint d(void);\n";
        assert_eq!(found(text), ["8 a takes fails any", "12 b fails", "14 c any", "15 d"]);
    }

    #[test]
    fn what_is_not_finished_is_no_function() {
        for text in
            ["int a(", "/* int a(void);", "{ int a(void);", "int a(void)", "#define A \\", "(a);", "é(a);"]
        {
            assert!(found(text).is_empty(), "{text}");
        }
    }
}
