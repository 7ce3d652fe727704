//! Finds the few items of a list that are refused among many that are not, in their order. Pure.

use rowferry_api::Error;
use std::ops::Range;

/// What to do next.
#[derive(Debug)]
pub(super) enum Part {
    /// Try these items together.
    Try(Range<usize>),
    /// This one is refused alone, with this error.
    Alone(usize, Error),
}

/// Parts of a list, until each is done or alone. They come in their order, each once what stands before it is through. An item
/// among `n` costs two tries for each time that `n` can be halved.
#[derive(Debug)]
pub(super) struct Bisection {
    todo: Vec<(Range<usize>, Option<Error>)>,
}

impl Bisection {
    /// Of `items` items, which were refused together if there is an error.
    pub(super) fn new(items: usize, error: Option<Error>) -> Self {
        Self { todo: vec![(0..items, error)] }
    }

    /// The next part. It is taken as done unless it is [`refused`](Self::refused).
    pub(super) fn next(&mut self) -> Option<Part> {
        loop {
            match self.todo.pop()? {
                (part, _) if part.is_empty() => {}
                (part, None) => return Some(Part::Try(part)),
                (part, Some(error)) if part.len() == 1 => return Some(Part::Alone(part.start, error)),
                (part, Some(_)) => {
                    let middle = part.start + part.len() / 2;
                    self.todo.push((middle..part.end, None));
                    self.todo.push((part.start..middle, None));
                }
            }
        }
    }

    /// Something in the part that was just tried is refused, and nothing of it is done.
    pub(super) fn refused(&mut self, part: Range<usize>, error: Error) {
        self.todo.push((part, Some(error)));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use rowferry_api::ErrorKind;

    /// What was done in which order, what was refused alone, and how many parts were tried.
    fn run(items: &[bool]) -> (Vec<usize>, Vec<usize>, usize) {
        let refusal = || Error::new(ErrorKind::BadRow, "refused");
        let (mut done, mut alone, mut tries) = (Vec::new(), Vec::new(), 0);
        let mut bisection = Bisection::new(items.len(), Some(refusal()));
        while let Some(part) = bisection.next() {
            match part {
                Part::Alone(item, _) => {
                    alone.push(item);
                    done.push(item);
                }
                Part::Try(part) => {
                    tries += 1;
                    if items[part.clone()].contains(&false) {
                        bisection.refused(part, refusal());
                    } else {
                        done.extend(part);
                    }
                }
            }
        }
        (done, alone, tries)
    }

    proptest! {
        #[test]
        fn each_bad_one_is_found_alone_and_all_are_done_in_order(items in prop::collection::vec(prop::bool::weighted(0.9), 1..200)) {
            prop_assume!(items.contains(&false));
            let (done, alone, tries) = run(&items);
            prop_assert_eq!(done, (0..items.len()).collect::<Vec<_>>());
            let bad: Vec<usize> = (0..items.len()).filter(|at| !items[*at]).collect();
            let halvings = usize::BITS as usize - (items.len() - 1).leading_zeros() as usize;
            prop_assert!(tries <= 2 * bad.len() * halvings, "{} tries", tries);
            prop_assert_eq!(alone, bad);
        }
    }

    #[test]
    fn one_among_many_thousands_takes_few_tries() {
        for bad in [0, 5_000, 9_999] {
            let mut items = vec![true; 10_000];
            items[bad] = false;
            let (_, alone, tries) = run(&items);
            assert_eq!(alone, [bad]);
            assert!(tries <= 28, "{tries} tries");
        }
    }
}
