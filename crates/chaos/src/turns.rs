//! Work that blocks, on threads that may, one piece after the other.
//!
//! Whoever waits for such work may give up: the step took too long, or the run ends. The thread goes on all the same. So
//! an undo has to come after an injection that nobody waits for any more, never within it; and an injection that was
//! given up before its turn came must not be begun at all.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

/// Who may work on one thing. Clones share the turns.
#[derive(Debug, Clone, Default)]
pub struct Turns(Arc<Mutex<()>>);

impl Turns {
    /// Does `work` once all that came before it has ended. `work` is told when nobody waits for it any more, and decides
    /// what that means.
    pub async fn take<T: Send + 'static>(
        &self,
        work: impl FnOnce(&AtomicBool) -> Result<T, String> + Send + 'static,
    ) -> Result<T, String> {
        let turn = self.0.clone();
        blocking(move |given_up| {
            let _turn = turn.lock().unwrap_or_else(PoisonError::into_inner);
            work(given_up)
        })
        .await
    }
}

/// Does what blocks where it may; the flag says when nobody waits for it any more.
pub(crate) async fn blocking<T: Send + 'static>(
    work: impl FnOnce(&AtomicBool) -> Result<T, String> + Send + 'static,
) -> Result<T, String> {
    let given_up = GivenUp(Arc::new(AtomicBool::new(false)));
    let flag = given_up.0.clone();
    let done = tokio::task::spawn_blocking(move || work(&flag)).await;
    done.unwrap_or_else(|_| Err("it broke".to_owned()))
}

/// Says so by being dropped.
struct GivenUp(Arc<AtomicBool>);

impl Drop for GivenUp {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Release);
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    /// An injection that is given up goes on, and what follows sees all of it; one whose turn has not come sees that.
    #[tokio::test]
    async fn what_is_given_up_is_over_before_the_next_turn() {
        let turns = Turns::default();
        let seen = Arc::new(Mutex::new(Vec::new()));
        let (begin, begun) = std::sync::mpsc::channel();
        for name in ["first", "second"] {
            let (seen, begin) = (seen.clone(), begin.clone());
            let work = turns.take(move |given_up| {
                let _ = begin.send(());
                if name == "first" {
                    while !given_up.load(Ordering::Acquire) {
                        std::thread::sleep(Duration::from_millis(1));
                    }
                }
                let late = given_up.load(Ordering::Acquire);
                seen.lock().unwrap().push((name, late));
                Ok(())
            });
            assert!(tokio::time::timeout(Duration::from_millis(50), work).await.is_err() == (name == "first"));
        }
        begun.recv().unwrap();
        assert_eq!(
            turns.take(|given_up| Ok(given_up.load(Ordering::Acquire))).await,
            Ok(false)
        );
        assert_eq!(*seen.lock().unwrap(), [("first", true), ("second", false)]);
    }
}
