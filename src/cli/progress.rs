//! Live progress: one spinner for each thing under way at a terminal, one plain line for each thing that ended elsewhere.

use std::{
    io::{IsTerminal, stderr, stdout},
    time::Duration,
};

use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressStyle};

use super::{Failure, output};

/// Where progress is shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Shown {
    /// On standard output: it is the result.
    Result,
    /// On standard error, beside a result.
    Aside,
    /// Not at all.
    Not,
}

/// The things under way.
pub(super) struct Board {
    shown: Shown,
    /// At a terminal only.
    bars: Option<MultiProgress>,
}

impl Board {
    /// An empty board.
    pub fn new(shown: Shown) -> Self {
        let bars = match shown {
            Shown::Result => stdout().is_terminal().then(ProgressDrawTarget::stdout),
            Shown::Aside => stderr().is_terminal().then(ProgressDrawTarget::stderr),
            Shown::Not => None,
        };
        Self { shown, bars: bars.map(MultiProgress::with_draw_target) }
    }

    /// Something that waits or is under way.
    pub fn add(&self, name: &str) -> Line {
        let bar = self.bars.as_ref().map(|bars| bars.add(ProgressBar::new_spinner()));
        let line = Line { name: name.to_owned(), shown: self.shown, bar };
        line.style(&format!("{{spinner}} {name:NAME_WIDTH$}  {{msg:.dim}}"));
        line
    }
}

/// One thing under way.
pub(super) struct Line {
    name: String,
    shown: Shown,
    bar: Option<ProgressBar>,
}

/// How something ended, as its mark at a terminal tells.
#[derive(Clone, Copy, Debug)]
pub(super) enum Mark {
    Good,
    Bad,
    Neutral,
}

impl Mark {
    fn styled(self) -> &'static str {
        match self {
            Self::Good => "{prefix:.green}",
            Self::Bad => "{prefix:.red}",
            Self::Neutral => "{prefix:.dim}",
        }
    }

    fn symbol(self) -> &'static str {
        match self {
            Self::Good => "✔",
            Self::Bad => "✘",
            Self::Neutral => "–",
        }
    }
}

const NAME_WIDTH: usize = 24;

impl Line {
    /// It is under way.
    pub fn busy(&self, text: &str) {
        if let Some(bar) = &self.bar {
            bar.set_message(text.to_owned());
            bar.enable_steady_tick(Duration::from_millis(80));
        }
    }

    /// It has ended.
    pub fn end(self, mark: Mark, word: &str, text: &str) -> Result<(), Failure> {
        let told = format!("{word:9} {:NAME_WIDTH$}  {text}", self.name);
        match (&self.bar, self.shown) {
            (Some(bar), _) => {
                self.style(&format!("{} {{msg}}", mark.styled()));
                bar.set_prefix(mark.symbol());
                bar.finish_with_message(told.trim_end().to_owned());
            }
            (None, Shown::Result) => output::line(told.trim_end())?,
            (None, Shown::Aside) => eprintln!("{}", told.trim_end()),
            (None, Shown::Not) => {}
        }
        Ok(())
    }

    fn style(&self, template: &str) {
        if let Some(bar) = &self.bar {
            bar.set_style(ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_spinner()));
        }
    }
}
