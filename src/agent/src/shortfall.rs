//! What a tick had no room for, and when a person must hear of it.
//!
//! The same lack comes with every tick for as long as it lasts, or with every walk through the processes. It is said
//! when it begins and when it has doubled, and is over when nothing was seen of it for `QUIET`.

use wire::time::{Instant, Span};

/// How long nothing may be lacking before the next time is another one. Most walks are a minute apart.
const QUIET: Span = Span::minutes(60);

/// One kind of lack.
#[derive(Debug, Default)]
pub struct Shortfall {
    /// What was said last; zero when nothing is lacking.
    said_count: u32,
    seen: Instant,
}

impl Shortfall {
    /// Takes how much one tick lacks. Says whether that is news.
    pub fn is_news(&mut self, now: Instant, count: u32) -> bool {
        if now - self.seen >= QUIET {
            self.said_count = 0;
        }
        if count > 0 {
            self.seen = now;
        }
        let is_news = count > 0 && (self.said_count == 0 || count / 2 >= self.said_count);
        if is_news {
            self.said_count = count;
        }
        is_news
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The minutes at which `counts`, one a minute, are news.
    fn news(counts: impl IntoIterator<Item = u32>) -> Vec<u64> {
        let mut shortfall = Shortfall::default();
        let minutes = (0..).zip(counts).filter(|(minute, count)| shortfall.is_news(Instant(minute * 60_000), *count));
        minutes.map(|(minute, _)| minute).collect()
    }

    #[test]
    fn a_lack_that_lasts_or_comes_and_goes_is_said_once() {
        assert_eq!(news([0, 0, 3, 3, 3]), [2]);
        assert_eq!(news([3, 0, 4, 0, 0, 0, 5].repeat(100)), [0]);
    }

    #[test]
    fn a_lack_that_grows_is_said_when_it_has_doubled() {
        assert_eq!(news([1, 2, 3, 4, 100, 150, 199, 200]), [0, 1, 3, 4, 7]);
    }

    #[test]
    fn a_lack_that_was_over_is_said_again() {
        let with_pause = |minutes| [vec![9], vec![0; minutes], vec![9]].concat();
        assert_eq!(news(with_pause(58)), [0]);
        assert_eq!(news(with_pause(59)), [0, 60]);
    }
}
