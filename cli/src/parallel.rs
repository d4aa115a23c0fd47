//! Things that do not depend on one another, each worked on by whichever thread is free.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread::ScopedJoinHandle;

/// How many processors there are to work on.
pub fn processors() -> usize {
    std::thread::available_parallelism().map_or(1, std::num::NonZeroUsize::get)
}

/// What comes of each block of `length` items, in their order, by as many as `jobs` threads.
pub fn blocks<T: Sync, R: Send>(
    jobs: usize,
    items: &[T],
    length: usize,
    act: impl Fn(&[T]) -> R + Sync,
) -> impl Iterator<Item = R> {
    let blocks: Vec<&[T]> = items.chunks(length.max(1)).collect();
    let next = AtomicUsize::new(0);
    let work = || {
        let mut done = Vec::new();
        loop {
            let number = next.fetch_add(1, Ordering::Relaxed);
            let Some(block) = blocks.get(number) else { return done };
            done.push((number, act(block)));
        }
    };
    let mut done = std::thread::scope(|scope| {
        let others: Vec<ScopedJoinHandle<'_, _>> = (1..jobs.min(blocks.len())).map(|_| scope.spawn(work)).collect();
        let mut done = work();
        for other in others {
            match other.join() {
                Ok(more) => done.extend(more),
                // As if it had been done here.
                Err(defect) => std::panic::resume_unwind(defect),
            }
        }
        done
    });
    done.sort_unstable_by_key(|(number, _)| *number);
    done.into_iter().map(|(_, of_block)| of_block)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_comes_of_blocks_is_in_their_order_however_many_threads_there_are() {
        let items: Vec<usize> = (0..1000).collect();
        for jobs in [0, 1, 2, 7, 2000] {
            let sums: Vec<usize> = blocks(jobs, &items, 3, |block| block.iter().sum()).collect();
            let expected: Vec<usize> = items.chunks(3).map(|block| block.iter().sum()).collect();
            assert_eq!(sums, expected, "{jobs} threads");
        }
        assert_eq!(blocks(2, &[] as &[usize], 3, <[usize]>::len).count(), 0);
    }
}
