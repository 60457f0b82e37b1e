//! What is checked before the parser sees a text, because the parser
//! recurses: brackets within brackets, operators in a row. Also finds what
//! the parser takes but the evaluator does not, where a better message than
//! the parser's can be given.
//!
//! The count never falls short of the parser's recursion: at one level of
//! brackets every operator since the last comma or colon counts as nested.

use super::{EvalError, MAX_BRACKETS};

/// Most operators that may apply to each other.
const MAX_OPERATORS: usize = 256;
/// How much of a word is shown.
const SHOWN: usize = 40;

/// Checks length of words, nesting and escapes.
pub(super) fn check(text: &str) -> Result<(), EvalError> {
    Scan {
        text,
        at: 0,
        levels: vec![Level {
            closing: 0,
            operators: 0,
        }],
        operators: 0,
    }
    .run()
}

struct Scan<'a> {
    text: &'a str,
    at: usize,
    /// The outermost level, and the open brackets.
    levels: Vec<Level>,
    /// The sum of their operators.
    operators: usize,
}

struct Level {
    /// The bracket that ends it.
    closing: u8,
    /// Operators since the last separator.
    operators: usize,
}

impl<'a> Scan<'a> {
    fn run(mut self) -> Result<(), EvalError> {
        while let Some(byte) = self.peek(0) {
            match byte {
                b'(' => self.open(b')')?,
                b'[' => self.open(b']')?,
                b'{' => self.open(b'}')?,
                b')' | b']' | b'}' => self.close(byte)?,
                b',' => self.separator(),
                b':' => match self.levels.last() {
                    Some(level) if matches!(level.closing, b']' | b'}') => self.separator(),
                    _ => return Err(self.fault("unexpected colon")),
                },
                b'\'' | b'"' => self.string("")?,
                b'#' => self.comment(),
                b'0'..=b'9' => self.number(),
                b'.' => self.dot()?,
                b if is_word(b) => self.word()?,
                b if b.is_ascii_whitespace() => self.at += 1,
                _ => {
                    self.operator()?;
                    self.at += 1;
                }
            }
        }
        Ok(())
    }

    fn peek(&self, ahead: usize) -> Option<u8> {
        self.text.as_bytes().get(self.at + ahead).copied()
    }

    fn operator(&mut self) -> Result<(), EvalError> {
        if let Some(level) = self.levels.last_mut() {
            level.operators += 1;
        }
        self.operators += 1;
        if self.operators > MAX_OPERATORS {
            return Err(EvalError::TooDeep);
        }
        Ok(())
    }

    fn open(&mut self, closing: u8) -> Result<(), EvalError> {
        // may be an index, applied to what stands before
        self.operator()?;
        self.levels.push(Level {
            closing,
            operators: 0,
        });
        if self.levels.len() > MAX_BRACKETS + 1 {
            return Err(EvalError::TooDeep);
        }
        self.at += 1;
        Ok(())
    }

    /// Ends a level. Whatever is unbalanced ends here: what the parser makes
    /// of it in its search for more errors, nobody knows.
    fn close(&mut self, byte: u8) -> Result<(), EvalError> {
        if self.levels.last().is_none_or(|l| l.closing != byte) {
            return Err(self.fault("unbalanced bracket"));
        }
        self.separator();
        self.levels.pop();
        Ok(())
    }

    fn separator(&mut self) {
        if let Some(level) = self.levels.last_mut() {
            self.operators -= level.operators;
            level.operators = 0;
        }
        self.at += 1;
    }

    fn fault(&self, what: &str) -> EvalError {
        EvalError::Syntax {
            at: self.at,
            what: what.to_owned(),
        }
    }

    fn comment(&mut self) {
        let rest = self.text.as_bytes().get(self.at..).unwrap_or(&[]);
        self.at += rest
            .iter()
            .position(|b| matches!(b, b'\n' | b'\r'))
            .unwrap_or(rest.len());
    }

    /// Everything that surely belongs to a number. Letters after it are read
    /// as a word: `1if x` is legal.
    fn number(&mut self) {
        let digit: fn(u8) -> bool = match (self.peek(0), self.peek(1)) {
            (Some(b'0'), Some(b'x' | b'X' | b'o' | b'O' | b'b' | b'B')) => {
                self.at += 2;
                |b| b.is_ascii_hexdigit() || b == b'_'
            }
            _ => |b| b.is_ascii_digit() || b == b'_' || b == b'.',
        };
        let hex = digit(b'a');
        self.skip_while(digit);
        if !hex && matches!(self.peek(0), Some(b'e' | b'E')) {
            let sign = usize::from(matches!(self.peek(1), Some(b'+' | b'-')));
            if self.peek(1 + sign).is_some_and(|b| b.is_ascii_digit()) {
                self.at += 1 + sign;
                self.skip_while(digit);
            }
        }
        if matches!(self.peek(0), Some(b'j' | b'J')) && !self.peek(1).is_some_and(is_word) {
            self.at += 1;
        }
    }

    fn skip_while(&mut self, belongs: impl Fn(u8) -> bool) {
        while self.peek(0).is_some_and(&belongs) {
            self.at += 1;
        }
    }

    fn dot(&mut self) -> Result<(), EvalError> {
        if self.peek(1).is_some_and(|b| b.is_ascii_digit()) {
            self.number();
            return Ok(());
        }
        let after = self.text.get(self.at + 1..).unwrap_or("").trim_start();
        if after.bytes().next().is_some_and(is_word) {
            return Err(EvalError::Unavailable("an attribute or method"));
        }
        self.operator()?;
        self.at += 1;
        Ok(())
    }

    fn word(&mut self) -> Result<(), EvalError> {
        let start = self.at;
        self.skip_while(|b| is_word(b) || b.is_ascii_digit());
        let word = self.text.get(start..self.at).unwrap_or("");
        match word {
            "True" | "False" | "None" => return Ok(()),
            "and" | "or" | "not" | "in" | "is" | "if" | "else" => return self.operator(),
            _ => {}
        }
        if matches!(self.peek(0), Some(b'\'' | b'"')) {
            let prefix = word.to_ascii_lowercase();
            match prefix.as_str() {
                "r" | "u" | "b" | "br" | "rb" => return self.string(&prefix),
                "f" | "fr" | "rf" => return Err(EvalError::Unavailable("an f-string")),
                "t" | "tr" | "rt" => return Err(EvalError::Unavailable("a t-string")),
                _ => {}
            }
        }
        let shown = match word.char_indices().nth(SHOWN) {
            Some((cut, _)) => format!("{}…", word.get(..cut).unwrap_or("")),
            None => word.to_owned(),
        };
        let after = self.text.get(self.at..).unwrap_or("").trim_start();
        if after.starts_with('(') {
            return Err(EvalError::Call(shown));
        }
        Err(EvalError::UnknownWord(shown))
    }

    /// Skips a string, which begins at its quote.
    fn string(&mut self, prefix: &str) -> Result<(), EvalError> {
        let rest = self.text.get(self.at..).unwrap_or("");
        let delimiter = ["'''", "\"\"\"", "'", "\""]
            .into_iter()
            .find(|d| rest.starts_with(d))
            .unwrap_or("'");
        let escapes = !prefix.contains(['r', 'b']);
        let one_line = delimiter.len() == 1;
        self.at += delimiter.len();
        loop {
            let rest = self.text.as_bytes().get(self.at..).unwrap_or(&[]);
            if rest.starts_with(delimiter.as_bytes()) {
                self.at += delimiter.len();
                return Ok(());
            }
            self.at += match rest {
                [] => return Err(self.fault("unterminated string")),
                [b'\n' | b'\r', ..] if one_line => {
                    return Err(self.fault("unterminated string"));
                }
                [b'\\', b'\r', b'\n', ..] => 3,
                [b'\\', ..] => {
                    if escapes {
                        surrogate(rest)?;
                    }
                    2
                }
                _ => 1,
            };
        }
    }
}

/// Letters, underscore and everything beyond ASCII: no operator has them.
const fn is_word(byte: u8) -> bool {
    byte.is_ascii_alphabetic() || byte == b'_' || byte >= 0x80
}

/// Refuses the escape of half a pair, which the parser would replace.
fn surrogate(escape: &[u8]) -> Result<(), EvalError> {
    let digits = match escape {
        [b'\\', b'u', digits @ ..] => digits.get(..4),
        [b'\\', b'U', b'0', b'0', b'0', b'0', digits @ ..] => digits.get(..4),
        _ => None,
    };
    match digits {
        Some(digits @ [b'd' | b'D', b'8' | b'9' | b'a'..=b'f' | b'A'..=b'F', ..]) => {
            let shown = String::from_utf8_lossy(digits).into_owned();
            Err(EvalError::Surrogate(shown))
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_glued_to_numbers_are_seen() {
        assert_eq!(check("1if 1else 2"), Ok(()));
        assert_eq!(check("0x1or 2"), Ok(()));
        assert_eq!(check("1e5"), Ok(()));
        assert_eq!(check("1e-5"), Ok(()));
        assert_eq!(check("1ex"), Err(EvalError::UnknownWord("ex".into())));
    }

    #[test]
    fn contents_of_strings_and_comments_do_not_count() {
        let many = "(".repeat(500);
        for text in [
            format!("'{many}'"),
            format!("'''{many}'{many}'''"),
            format!("rb\"{many}\""),
            format!("'\\'{many}'"),
            format!("1 # {many}"),
        ] {
            assert_eq!(check(&text), Ok(()));
        }
        assert_eq!(check(&format!("''{many}")), Err(EvalError::TooDeep));
        assert_eq!(check(&format!("r'\\'{many}'")), Ok(()));
        assert_eq!(check(&format!("#\n{many}")), Err(EvalError::TooDeep));
    }

    #[test]
    fn what_is_unbalanced_never_reaches_the_parser() {
        for text in ["(]", "1)", "'a", "'''a'", "'a\n'", "(1:2)", "1:2", "'\\"] {
            let got = check(text);
            assert!(
                matches!(got, Err(EvalError::Syntax { .. })),
                "{text} {got:?}"
            );
        }
        assert_eq!(check("'a\\\nb' '''\n''' 'a\\\r\nb'"), Ok(()));
    }
}
