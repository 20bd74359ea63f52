//! Keeps a panic of the application from the event loop.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};

/// Calls the application; `None` if it panicked.
pub(crate) fn guarded<T>(call: impl FnOnce() -> T) -> Option<T> {
    catch_unwind(AssertUnwindSafe(call)).map_err(discard).ok()
}

/// What a panic was thrown with is the application's too, and may panic when it is dropped. Should that panic throw the like,
/// it is left alone.
fn discard(payload: Box<dyn Any + Send>) {
    if let Err(another) = catch_unwind(AssertUnwindSafe(|| drop(payload))) {
        std::mem::forget(another);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Explosive;

    impl Drop for Explosive {
        fn drop(&mut self) {
            std::panic::panic_any(5);
        }
    }

    #[test]
    fn neither_a_panic_nor_what_it_was_thrown_with_gets_through() {
        assert_eq!(guarded(|| 1), Some(1));
        assert_eq!(guarded(|| std::panic::panic_any(Explosive)), None::<()>);
    }
}
