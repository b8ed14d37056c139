//! Conditions and expressions: a small part of CEL, over numbers that have names.
//!
//! Allowed are those names (in a condition `new` and `old`), numbers, `true` and `false`, arithmetic, comparisons, `&&`,
//! `||`, `!` and `?:`. There is no loop, no list and no call in it, so that its evaluation takes no more steps than its text
//! is long. All numbers are doubles: `old * 2` means what it says, while CEL would refuse to multiply a double by an int.

use super::Figures;
use cel::{
    Context, IdedExpr, Value,
    common::{
        ast::{CallExpr, Expr, LiteralValue, operators as op},
        types::CelDouble,
    },
    parser::Parser,
};
use serde::{Deserialize, Serialize};
use std::{collections::BTreeMap, fmt};

/// Longest condition, bytes.
pub const CONDITION_MAX: usize = 500;
/// Deepest nesting of parentheses, and most `?:`. The parser descends once for each before it looks at its own limit, and a
/// text of 400 parentheses would exhaust its stack.
const NESTING_MAX: usize = 10;
/// Most operators of which one takes another's result. The evaluation descends once for each.
const DEPTH_MAX: usize = 20;

/// What has to be so, as it was written: checked once, and read again at each look.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Condition(String);

/// A number made of other numbers, as it was written: checked once, and read again at each look.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Expression(String);

/// What a condition compares.
const SIDES: [&str; 2] = ["new", "old"];

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Number,
    Truth,
}

impl Condition {
    /// Checks a condition. The error says what is wrong with it.
    pub fn parse(text: &str) -> Result<Self, String> {
        read(text, Kind::Truth, &SIDES)?;
        Ok(Self(text.to_owned()))
    }

    /// Whether it compares with the old version.
    #[must_use]
    pub fn needs_old(&self) -> bool {
        read(&self.0, Kind::Truth, &SIDES).is_ok_and(|expression| names(&expression, "old"))
    }

    /// Whether it is so. The error says why it cannot be told.
    pub fn holds(&self, figures: Figures) -> Result<bool, String> {
        let expression = read(&self.0, Kind::Truth, &SIDES)?;
        let Figures { new, old } = figures;
        let mut context = Context::default();
        context.add_variable_from_value("new", new);
        if let Some(old) = old {
            context.add_variable_from_value("old", old);
        }
        if !is_defined(&expression, &context) {
            return Err(UNDEFINED.to_owned());
        }
        match context.resolve(&expression) {
            Ok(Value::Bool(holds)) => Ok(holds),
            Ok(_) => Err("it is neither true nor false".to_owned()),
            Err(error) => Err(error.to_string()),
        }
    }
}

impl fmt::Display for Condition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Expression {
    /// Checks an expression over numbers of these names. The error says what is wrong with it.
    pub fn parse(text: &str, known: &[&str]) -> Result<Self, String> {
        read(text, Kind::Number, known)?;
        Ok(Self(text.to_owned()))
    }

    /// Its number, where the others are these. The error says why it has none.
    pub fn value(&self, numbers: &BTreeMap<&str, f64>) -> Result<f64, String> {
        let known: Vec<&str> = numbers.keys().copied().collect();
        let expression = read(&self.0, Kind::Number, &known)?;
        let mut context = Context::default();
        for (name, number) in numbers {
            context.add_variable_from_value(*name, *number);
        }
        if !is_defined(&expression, &context) {
            return Err(UNDEFINED.to_owned());
        }
        match context.resolve(&expression) {
            Ok(Value::Float(number)) => Ok(number),
            Ok(_) => Err("it is no number".to_owned()),
            Err(error) => Err(error.to_string()),
        }
    }
}

impl Expression {
    /// Whether it is made of that number, among others.
    #[must_use]
    pub fn names(&self, name: &str) -> bool {
        Parser::new().parse(&self.0).is_ok_and(|expression| names(&expression, name))
    }
}

impl fmt::Display for Expression {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

const UNDEFINED: &str = "it divides by zero, or by nearly nothing";

fn read(text: &str, wanted: Kind, known: &[&str]) -> Result<IdedExpr, String> {
    if text.trim().is_empty() || text.len() > CONDITION_MAX {
        return Err(format!("must be 1 to {CONDITION_MAX} characters, such as {}", wanted.example()));
    }
    check_nesting(text)?;
    let parsed = Parser::new().parse(text);
    let mut expression = parsed.map_err(|errors| {
        let first = errors.errors.first().map(|error| error.msg.clone()).unwrap_or_default();
        format!("is no CEL expression: {first}")
    })?;
    match (kind_of(&mut expression, DEPTH_MAX, known)?, wanted) {
        (Kind::Number, Kind::Truth) => Err(format!("must be true or false, such as {}", wanted.example())),
        (Kind::Truth, Kind::Number) => Err(format!("must be a number, such as {}", wanted.example())),
        (Kind::Number, Kind::Number) | (Kind::Truth, Kind::Truth) => Ok(expression),
    }
}

impl Kind {
    fn example(self) -> &'static str {
        match self {
            Self::Truth => "\"new <= old * 1.1\"",
            Self::Number => "\"errors / requests\"",
        }
    }
}

/// What the parser is not to be shown at all.
fn check_nesting(text: &str) -> Result<(), String> {
    let (mut depth, mut choices) = (0usize, 0usize);
    for c in text.chars() {
        match c {
            '(' => depth += 1,
            ')' => depth = depth.saturating_sub(1),
            '?' => choices += 1,
            _ if c.is_ascii_alphanumeric() || c.is_ascii_whitespace() || "_.<>=!&|:+-*/".contains(c) => {}
            _ => return Err(format!("may use numbers, arithmetic, comparisons, &&, ||, ! and ?: only, and no {c:?}")),
        }
        if depth > NESTING_MAX || choices > NESTING_MAX {
            return Err(format!("must have at most {NESTING_MAX} parentheses within each other, and as many ?:"));
        }
    }
    Ok(())
}

/// Checks an expression's types, and makes its numbers doubles.
fn kind_of(expression: &mut IdedExpr, depth: usize, known: &[&str]) -> Result<Kind, String> {
    match &mut expression.expr {
        Expr::Ident(name) if known.contains(&name.as_str()) => Ok(Kind::Number),
        Expr::Ident(name) => {
            let known: Vec<String> = known.iter().map(|name| format!("{name:?}")).collect();
            Err(format!("knows {} only, not {name:?}", known.join(" and ")))
        }
        Expr::Literal(literal) => match literal {
            LiteralValue::Boolean(_) => Ok(Kind::Truth),
            LiteralValue::Double(_) => Ok(Kind::Number),
            LiteralValue::Int(number) => {
                // Beyond 2^53 the nearest double: no figure is more exact than that.
                *literal = LiteralValue::Double(CelDouble::from(number.into_inner() as f64));
                Ok(Kind::Number)
            }
            _ => Err("compares numbers only".to_owned()),
        },
        Expr::Call(call) => match depth.checked_sub(1) {
            Some(depth) => kind_of_call(call, depth, known),
            None => Err(format!("must have at most {DEPTH_MAX} operators that take each other's results")),
        },
        _ => Err("may use numbers, arithmetic, comparisons, &&, ||, ! and ?: only".to_owned()),
    }
}

fn kind_of_call(call: &mut CallExpr, depth: usize, known: &[&str]) -> Result<Kind, String> {
    use Kind::{Number, Truth};
    let kinds = call.args.iter_mut().map(|argument| kind_of(argument, depth, known)).collect::<Result<Vec<_>, _>>()?;
    let name = call.func_name.as_str();
    match (name, kinds.as_slice()) {
        (op::ADD | op::SUBSTRACT | op::MULTIPLY | op::DIVIDE, [Number, Number]) | (op::NEGATE, [Number]) => Ok(Number),
        (
            op::LESS | op::LESS_EQUALS | op::GREATER | op::GREATER_EQUALS | op::EQUALS | op::NOT_EQUALS,
            [Number, Number],
        )
        | (op::EQUALS | op::NOT_EQUALS | op::LOGICAL_AND | op::LOGICAL_OR, [Truth, Truth])
        | (op::LOGICAL_NOT, [Truth]) => Ok(Truth),
        (op::CONDITIONAL, [Truth, one, other]) if one == other => Ok(*one),
        _ => {
            Err(format!("cannot use {:?} so: numbers and truths do not mix, and there are no functions", spoken(name)))
        }
    }
}

/// An operator as it is written: CEL calls `<=` `_<=_`.
fn spoken(operator: &str) -> &str {
    operator.trim_matches('_')
}

fn names(expression: &IdedExpr, name: &str) -> bool {
    match &expression.expr {
        Expr::Ident(found) => found == name,
        Expr::Call(call) => call.args.iter().any(|argument| names(argument, name)),
        _ => false,
    }
}

/// Whether no number in it that matters has become infinite or none at all: a division by zero would make comparisons true
/// or false that say nothing of the new version. What is not looked at, as in `old == 0.0 ? new < 1.0 : new / old < 2.0`,
/// does not matter.
fn is_defined(expression: &IdedExpr, context: &Context) -> bool {
    let Expr::Call(call) = &expression.expr else { return true };
    let settled =
        |side: &IdedExpr, as_| is_defined(side, context) && context.resolve(side).ok() == Some(Value::Bool(as_));
    match (call.func_name.as_str(), call.args.as_slice()) {
        (op::CONDITIONAL, [condition, yes, no]) => match (is_defined(condition, context), context.resolve(condition)) {
            (true, Ok(Value::Bool(true))) => is_defined(yes, context),
            (true, Ok(Value::Bool(false))) => is_defined(no, context),
            _ => false,
        },
        (op::LOGICAL_OR, [left, right]) if settled(left, true) || settled(right, true) => true,
        (op::LOGICAL_AND, [left, right]) if settled(left, false) || settled(right, false) => true,
        (_, arguments) => {
            let finite = match context.resolve(expression) {
                Ok(Value::Float(number)) => number.is_finite(),
                Ok(_) => true,
                Err(_) => false,
            };
            finite && arguments.iter().all(|argument| is_defined(argument, context))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn holds(text: &str, new: f64, old: f64) -> Result<bool, String> {
        Condition::parse(text).unwrap().holds(Figures { new, old: Some(old) })
    }

    #[test]
    fn numbers_are_doubles_however_they_are_written() {
        assert_eq!(holds("new <= old * 2 + 1", 5.0, 2.0), Ok(true));
        assert_eq!(holds("new <= old * 2 + 1", 5.1, 2.0), Ok(false));
        assert_eq!(holds("!(new > 3) && -new < 1", 2.0, 0.0), Ok(true));
        assert_eq!(holds("old > 10 ? new <= old : true", 20.0, 5.0), Ok(true));
    }

    #[test]
    fn what_is_no_condition_is_refused() {
        let long = "new < 1 || ".repeat(50) + "true";
        let deep = "(".repeat(200) + "true" + &")".repeat(200);
        for text in [
            "",
            " ",
            "new <=",
            "new",
            "new + old",
            "nwe < 1.0",
            "new < \"a\"",
            "new == true",
            "[new].all(x, x < 1.0)",
            "[1, 2].map(x, x).size() > new",
            "size(\"a\") > 1",
            "new % 2 == 0",
            "new.a < 1",
            "{1: 2} == {1: 2}",
            "1 < 2 < 3",
            &long,
            &deep,
        ] {
            assert!(Condition::parse(text).is_err(), "{text}");
        }
        assert!(Condition::parse("nwe < 1.0").unwrap_err().contains("\"nwe\""));
    }

    #[test]
    fn the_deepest_condition_is_read_and_evaluated() {
        let sum = "new".to_owned() + &"+1".repeat(18) + " < 100";
        assert_eq!(holds(&sum, 1.0, 0.0), Ok(true));
        let either = "new>1||".repeat(18) + "new<1";
        assert_eq!(holds(&either, 0.0, 0.0), Ok(true));
    }

    #[test]
    fn no_condition_exhausts_a_stack() {
        // A quarter of what a thread of the server has.
        let small = std::thread::Builder::new().stack_size(512 << 10);
        let reader = small.spawn(|| {
            for part in [
                "(", "!", "-", "- ", "new+", "new.", "new||", "new<", "!(", "true?", "true?1:", "&&", "new*-", "f(",
                "new==!",
            ] {
                for end in ["", "new", "true", "new<1", "1:1"] {
                    let text = part.repeat((CONDITION_MAX - end.len()) / part.len()) + end;
                    if let Ok(condition) = Condition::parse(&text) {
                        let _ = condition.holds(Figures { new: 0.0, old: Some(1.0) });
                    }
                }
            }
        });
        reader.unwrap().join().unwrap();
    }

    #[test]
    fn a_division_by_zero_says_nothing_unless_it_is_not_looked_at() {
        assert!(holds("new / old <= 1.1", 0.0, 0.0).is_err());
        assert!(holds("!(new / old > 1.1)", 0.0, 0.0).is_err());
        assert!(holds("old / new > 0.9", 0.0, 1.0).is_err());
        assert_eq!(holds("new / old <= 1.1 || new < 0.01", 0.0, 0.0), Ok(true));
        assert_eq!(holds("old == 0 ? new < 1 : new / old <= 1.1", 0.5, 0.0), Ok(true));
        assert!(holds("new / old <= 1.1 || new < 0.01", 1.0, 0.0).is_err());
    }

    #[test]
    fn an_expression_gives_a_number_of_those_that_it_knows() {
        let value = |text: &str, errors: f64, requests: f64| {
            let expression = Expression::parse(text, &["errors", "requests"]).unwrap();
            expression.value(&[("errors", errors), ("requests", requests)].into())
        };
        assert_eq!(value("100 * errors / requests", 3.0, 60.0), Ok(5.0));
        assert_eq!(value("requests > 0 ? errors / requests : 0.0", 0.0, 0.0), Ok(0.0));
        assert!(value("errors / requests", 0.0, 0.0).unwrap_err().contains("divides by zero"));
        let refused = |text: &str| Expression::parse(text, &["errors", "requests"]).unwrap_err();
        assert!(refused("errors < requests").contains("must be a number"));
        assert!(refused("errors / new").contains("knows \"errors\" and \"requests\" only, not \"new\""));
    }

    #[test]
    fn a_condition_knows_whether_it_needs_the_old_version() {
        assert!(Condition::parse("new <= (1.0 + old) * 1.1").unwrap().needs_old());
        assert!(!Condition::parse("new <= 1.1").unwrap().needs_old());
    }

    proptest! {
        #[test]
        fn no_text_makes_the_reader_panic(text in "[newold0-9.<>=!&|?:+*/() -]{0,60}") {
            if let Ok(condition) = Condition::parse(&text) {
                let _ = condition.holds(Figures { new: 0.0, old: Some(1.0) });
            }
        }
    }
}
