//! How soon a watch that failed is opened again.

use std::time::Duration;

use kube::runtime::utils::Backoff;

const FIRST: Duration = Duration::from_millis(500);
/// After an outage of the API server an operator that looks again only after half a minute is blind that long.
const LONGEST: Duration = Duration::from_secs(4);

/// Doubles from 0.5 s to 4 s, each a quarter more or less by chance, so that many watches do not come back at once.
#[derive(Clone, Debug)]
pub struct Retry(Duration);

impl Default for Retry {
    fn default() -> Self {
        Self(FIRST)
    }
}

impl Retry {
    /// How long to wait now.
    pub fn pause(&mut self) -> Duration {
        let pause = self.0;
        self.0 = (pause * 2).min(LONGEST);
        pause.mul_f64(rand::random_range(0.75..1.25))
    }
}

impl Iterator for Retry {
    type Item = Duration;

    fn next(&mut self) -> Option<Duration> {
        Some(self.pause())
    }
}

impl Backoff for Retry {
    fn reset(&mut self) {
        self.0 = FIRST;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_watch_stays_away_for_more_than_five_seconds() {
        let mut retry = Retry::default();
        let pauses: Vec<Duration> = retry.by_ref().take(20).collect();
        assert!(
            pauses[0] < Duration::from_secs(1) && pauses.iter().all(|p| *p <= Duration::from_secs(5)),
            "{pauses:?}"
        );
        retry.reset();
        assert!(retry.next() < Some(Duration::from_secs(1)));
    }
}
