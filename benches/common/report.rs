//! What was measured, as tables; nothing else prints to standard output.
#![allow(clippy::print_stdout, clippy::print_stderr)] // this is the output

use crate::stats::Spread;

/// What a ratio is to be.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Target {
    AtLeast(f64),
    AtMost(f64),
}

impl Target {
    fn is_met(self, x: f64) -> bool {
        match self {
            Self::AtLeast(least) => x >= least,
            Self::AtMost(most) => x <= most,
        }
    }
}

impl std::fmt::Display for Target {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::AtLeast(x) => write!(f, "≥ {}", number(*x)),
            Self::AtMost(x) => write!(f, "≤ {}", number(*x)),
        }
    }
}

/// Rows collected while measuring.
#[derive(Default)]
pub(crate) struct Report {
    rows: Vec<Row>,
    raw: Vec<String>,
    left_out: Vec<String>,
}

struct Row {
    figure: &'static str,
    what: String,
    target: Target,
    ratio: Spread,
}

impl Report {
    /// A figure with its target. `None`, where a number could not be had,
    /// is named among what was left out.
    pub(crate) fn ratio(
        &mut self,
        figure: &'static str,
        what: String,
        target: Target,
        ratio: Option<Spread>,
    ) {
        match ratio {
            Some(ratio) => self.rows.push(Row {
                figure,
                what,
                target,
                ratio,
            }),
            None => self.leave_out(format!("{figure} {what}: too short to measure")),
        }
    }

    /// A measurement that the ratios come from.
    pub(crate) fn raw(&mut self, line: String) {
        self.raw.push(line);
    }

    /// Something that was not measured, and why. Said once.
    pub(crate) fn leave_out(&mut self, what: String) {
        if !self.left_out.contains(&what) {
            self.left_out.push(what);
        }
    }

    pub(crate) fn print(mut self) {
        let key = |figure: &str| {
            let number = figure.trim_start_matches(|c: char| c.is_alphabetic());
            number.parse::<u32>().unwrap_or(0)
        };
        self.rows.sort_by_key(|row| key(row.figure));
        println!("\nMeasured on this machine (they say little by themselves):");
        for line in &self.raw {
            println!("  {line}");
        }
        println!("\n| # | figure | target | reached | least – greatest | met |");
        println!("|---|---|---|---|---|---|");
        for row in &self.rows {
            let Spread {
                median,
                least,
                greatest,
            } = row.ratio;
            println!(
                "| {} | {} | {} | {} | {} – {} | {} |",
                row.figure,
                row.what,
                row.target,
                number(median),
                number(least),
                number(greatest),
                if row.target.is_met(median) {
                    "yes"
                } else {
                    "**no**"
                },
            );
        }
        for what in &self.left_out {
            println!("\nLeft out: {what}");
        }
    }
}

/// Says on standard error what is going on.
pub(crate) fn progress(what: &str) {
    eprintln!("# {what}");
}

/// Two or three figures; as a fraction where the number is small.
pub(crate) fn number(x: f64) -> String {
    match x.abs() {
        a if a >= 100.0 => format!("{x:.0}"),
        a if a >= 10.0 => format!("{x:.1}"),
        a if a >= 0.2 || a == 0.0 => format!("{x:.2}"),
        a if a >= 0.1 => format!("1/{:.1}", 1.0 / x),
        _ => format!("1/{:.0}", 1.0 / x),
    }
}
