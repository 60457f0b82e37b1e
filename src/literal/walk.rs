//! From the parser's tree to a [`Literal`]. The only file that knows the
//! parser, whose interface is an internal one.

use num_bigint::BigInt;
use ruff_python_ast as ast;

use super::ops::{self, Binary, Compare, Unary};
use super::sequence::{self, Bounds};
use super::{Budget, EvalError, Literal};

/// Evaluates a text that the scan has let pass.
pub(super) fn eval(text: &str) -> Result<Literal, EvalError> {
    let parsed = ruff_python_parser::parse_expression(text).map_err(|e| EvalError::Syntax {
        at: e.location.start().to_usize(),
        what: fragment(&e.error.to_string()),
    })?;
    let mut walk = Walk {
        budget: Budget(Budget::START),
    };
    walk.expr(&parsed.syntax().body)
}

/// A message of the parser as part of one of ours.
fn fragment(message: &str) -> String {
    let line = message.lines().next().unwrap_or("");
    let mut chars = line.chars();
    match chars.next() {
        Some(first) => first.to_lowercase().chain(chars).collect(),
        None => String::new(),
    }
}

struct Walk {
    budget: Budget,
}

impl Walk {
    /// Recurses no deeper than the scan allows.
    fn expr(&mut self, expr: &ast::Expr) -> Result<Literal, EvalError> {
        self.budget.take(Budget::ITEM)?;
        let refused = match expr {
            ast::Expr::NoneLiteral(_) => return Ok(Literal::None),
            ast::Expr::BooleanLiteral(b) => return Ok(Literal::Bool(b.value)),
            ast::Expr::NumberLiteral(n) => return number(&n.value),
            ast::Expr::StringLiteral(s) => {
                let text = s.value.to_str();
                self.budget.take(text.len())?;
                return Ok(Literal::Str(text.to_owned()));
            }
            ast::Expr::BytesLiteral(b) => {
                self.budget.take(b.value.len())?;
                return Ok(Literal::Bytes(b.value.bytes().collect()));
            }
            ast::Expr::Tuple(t) => return self.exprs(&t.elts).map(Literal::Tuple),
            ast::Expr::List(l) => return self.exprs(&l.elts).map(Literal::List),
            ast::Expr::Dict(d) => return self.map(d),
            ast::Expr::UnaryOp(u) => return self.unary(u),
            ast::Expr::BinOp(b) => return self.binary(b),
            ast::Expr::BoolOp(b) => return self.boolean(b),
            ast::Expr::Compare(c) => return self.compare(c),
            ast::Expr::If(i) => return self.if_else(i),
            ast::Expr::Subscript(s) => return self.subscript(s),
            ast::Expr::Set(_) => "a set",
            ast::Expr::FString(_) | ast::Expr::TString(_) => "an f-string",
            ast::Expr::EllipsisLiteral(_) => "an ellipsis",
            ast::Expr::Call(_) => "a call",
            ast::Expr::Attribute(_) => "an attribute or method",
            ast::Expr::Starred(_) => "a star",
            ast::Expr::Slice(_) => "a slice outside of an index",
            ast::Expr::Lambda(_) => "a function",
            ast::Expr::Named(_) => "an assignment",
            ast::Expr::Name(name) => return Err(EvalError::UnknownWord(name.id.to_string())),
            ast::Expr::ListComp(_)
            | ast::Expr::SetComp(_)
            | ast::Expr::DictComp(_)
            | ast::Expr::Generator(_) => "a comprehension",
            ast::Expr::Await(_)
            | ast::Expr::Yield(_)
            | ast::Expr::YieldFrom(_)
            | ast::Expr::IpyEscapeCommand(_) => "this",
        };
        Err(EvalError::Unavailable(refused))
    }

    fn exprs(&mut self, exprs: &[ast::Expr]) -> Result<Vec<Literal>, EvalError> {
        exprs.iter().map(|e| self.expr(e)).collect()
    }

    fn map(&mut self, dict: &ast::ExprDict) -> Result<Literal, EvalError> {
        let mut pairs = Vec::with_capacity(dict.items.len());
        for item in &dict.items {
            let Some(key) = &item.key else {
                return Err(EvalError::Unavailable("a star"));
            };
            pairs.push((self.expr(key)?, self.expr(&item.value)?));
        }
        sequence::map(pairs)
    }

    fn unary(&mut self, unary: &ast::ExprUnaryOp) -> Result<Literal, EvalError> {
        let op = match unary.op {
            ast::UnaryOp::Not => return Ok(Literal::Bool(!self.expr(&unary.operand)?.truth())),
            ast::UnaryOp::UAdd => Unary::Plus,
            ast::UnaryOp::USub => Unary::Minus,
            ast::UnaryOp::Invert => Unary::Invert,
        };
        ops::unary(op, self.expr(&unary.operand)?)
    }

    fn binary(&mut self, binary: &ast::ExprBinOp) -> Result<Literal, EvalError> {
        let op = match binary.op {
            ast::Operator::Add => Binary::Add,
            ast::Operator::Sub => Binary::Sub,
            ast::Operator::Mult => Binary::Mul,
            ast::Operator::Div => Binary::Div,
            ast::Operator::FloorDiv => Binary::FloorDiv,
            ast::Operator::Mod => Binary::Mod,
            ast::Operator::Pow => Binary::Pow,
            ast::Operator::LShift => Binary::Shl,
            ast::Operator::RShift => Binary::Shr,
            ast::Operator::BitOr => Binary::Or,
            ast::Operator::BitXor => Binary::Xor,
            ast::Operator::BitAnd => Binary::And,
            ast::Operator::MatMult => return Err(EvalError::Unavailable("`@`")),
        };
        let left = self.expr(&binary.left)?;
        let right = self.expr(&binary.right)?;
        ops::binary(op, left, right, &mut self.budget)
    }

    /// The first operand that decides; the others are not evaluated.
    fn boolean(&mut self, boolean: &ast::ExprBoolOp) -> Result<Literal, EvalError> {
        let decides = matches!(boolean.op, ast::BoolOp::Or);
        let mut last = Literal::None;
        for operand in &boolean.values {
            last = self.expr(operand)?;
            if last.truth() == decides {
                break;
            }
        }
        Ok(last)
    }

    /// `a < b < c`: all must hold, each operand is evaluated once.
    fn compare(&mut self, compare: &ast::ExprCompare) -> Result<Literal, EvalError> {
        let mut left = self.expr(&compare.left)?;
        for (op, right) in compare.ops.iter().zip(&compare.comparators) {
            let right = self.expr(right)?;
            let op = match op {
                ast::CmpOp::Eq => Compare::Equal,
                ast::CmpOp::NotEq => Compare::NotEqual,
                ast::CmpOp::Lt => Compare::Less,
                ast::CmpOp::LtE => Compare::LessEqual,
                ast::CmpOp::Gt => Compare::Greater,
                ast::CmpOp::GtE => Compare::GreaterEqual,
                ast::CmpOp::In => Compare::In,
                ast::CmpOp::NotIn => Compare::NotIn,
                // what is the same object, only an implementation knows
                ast::CmpOp::Is | ast::CmpOp::IsNot => return Err(EvalError::Unavailable("`is`")),
            };
            if !ops::compare(op, &left, &right, &mut self.budget)? {
                return Ok(Literal::Bool(false));
            }
            left = right;
        }
        Ok(Literal::Bool(true))
    }

    fn if_else(&mut self, choice: &ast::ExprIf) -> Result<Literal, EvalError> {
        if self.expr(&choice.test)?.truth() {
            self.expr(&choice.body)
        } else {
            self.expr(&choice.orelse)
        }
    }

    fn subscript(&mut self, subscript: &ast::ExprSubscript) -> Result<Literal, EvalError> {
        let value = self.expr(&subscript.value)?;
        if let ast::Expr::Slice(slice) = &*subscript.slice {
            let bounds = Bounds {
                start: self.bound(slice.lower.as_deref())?,
                stop: self.bound(slice.upper.as_deref())?,
                step: self.bound(slice.step.as_deref())?,
            };
            sequence::slice(value, bounds, &mut self.budget)
        } else {
            let index = self.expr(&subscript.slice)?;
            sequence::item(value, &index)
        }
    }

    fn bound(&mut self, expr: Option<&ast::Expr>) -> Result<Option<i64>, EvalError> {
        match expr {
            None => Ok(None),
            Some(expr) => match self.expr(expr)? {
                Literal::None => Ok(None),
                other => sequence::position(&other).map(Some),
            },
        }
    }
}

fn number(number: &ast::Number) -> Result<Literal, EvalError> {
    let int = match number {
        ast::Number::Int(int) => int,
        ast::Number::Float(x) => return Ok(Literal::Float(*x)),
        ast::Number::Complex { .. } => return Err(EvalError::Unavailable("a complex number")),
    };
    match int.as_u64() {
        Some(n) => Ok(Literal::Int(BigInt::from(n))),
        None => big(&int.to_string()).map(Literal::Int),
    }
}

/// A long integer as it is written.
fn big(token: &str) -> Result<BigInt, EvalError> {
    let (radix, digits) = match token.as_bytes() {
        [b'0', b'x' | b'X', digits @ ..] => (16, digits),
        [b'0', b'o' | b'O', digits @ ..] => (8, digits),
        [b'0', b'b' | b'B', digits @ ..] => (2, digits),
        digits => (10, digits),
    };
    ops::integer(digits, radix)
}
