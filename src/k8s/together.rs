//! One read for all who ask the same at the same time. Nobody gets an answer that is older than the question, as a cache
//! would give.

use std::collections::HashMap;
use std::future::Future;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

/// Beyond so many questions those that nobody asks at the moment are forgotten.
const MOST: usize = 256;

/// The last answer, and when its read began.
type Answer<T> = Arc<tokio::sync::Mutex<Option<(Instant, T)>>>;

/// Answers by question.
#[derive(Debug)]
pub struct Together<T>(Mutex<HashMap<String, Answer<T>>>);

impl<T> Default for Together<T> {
    fn default() -> Self {
        Self(Mutex::default())
    }
}

impl<T: Clone> Together<T> {
    /// What `read` answers, or what it answered somebody else who asked later than this.
    pub async fn ask<E>(&self, question: &str, read: impl Future<Output = Result<T, E>>) -> Result<T, E> {
        let asked = Instant::now();
        let answer = self.answer(question);
        // Held while it is read: who comes meanwhile waits for the next read, and shares that.
        let mut answer = answer.lock().await;
        if let Some((_, known)) = answer.as_ref().filter(|(began, _)| *began >= asked) {
            return Ok(known.clone());
        }
        let began = Instant::now();
        let read = read.await?;
        *answer = Some((began, read.clone()));
        Ok(read)
    }

    fn answer(&self, question: &str) -> Answer<T> {
        // A map that was poisoned has at worst one entry too few.
        let mut answers = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if answers.len() >= MOST {
            answers.retain(|_, answer| Arc::strong_count(answer) > 1);
        }
        answers.entry(question.to_owned()).or_default().clone()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use futures::FutureExt;
    use futures::future::join_all;
    use tokio::sync::Semaphore;

    use super::*;

    #[tokio::test]
    async fn who_asks_during_a_read_shares_the_next_one() {
        let (together, reads, gate) = (Together::default(), AtomicUsize::new(0), Semaphore::new(0));
        let read = || async {
            let number = reads.fetch_add(1, Ordering::Relaxed);
            gate.acquire().await.unwrap().forget();
            Ok::<_, ()>(number)
        };
        let mut first = Box::pin(together.ask("a", read()));
        assert!((&mut first).now_or_never().is_none(), "it is being read");
        let mut others = Box::pin(join_all((0..5).map(|_| together.ask("a", read()))));
        assert!((&mut others).now_or_never().is_none());
        gate.add_permits(2);
        assert_eq!(first.await, Ok(0));
        assert_eq!(others.await, [Ok(1); 5]);
        assert_eq!(reads.load(Ordering::Relaxed), 2);
    }

    #[tokio::test]
    async fn a_later_question_and_another_one_are_read_anew_and_an_error_is_nobodys_answer() {
        let together = Together::default();
        assert_eq!(together.ask("a", async { Ok::<_, ()>(1) }).await, Ok(1));
        assert_eq!(together.ask("a", async { Err(7) }).await, Err(7));
        assert_eq!(together.ask("a", async { Ok::<_, ()>(2) }).await, Ok(2));
        assert_eq!(together.ask("b", async { Ok::<_, ()>(3) }).await, Ok(3));
    }
}
