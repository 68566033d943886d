//! The states of a fill as a value: answers, bytes, cuts and ends go in, what to do next comes out.
//!
//! No sockets, files or clocks, so that it can be driven through every order of events.

/// Until the digest is proven, this many bytes at the end are kept from readers, so that a body that turns out to be
/// wrong is never whole.
pub const WITHHELD_BYTES: u64 = 4096;

/// So many attempts in a row that bring no byte end a fill. Attempts that bring some are not counted.
pub const ATTEMPTS_WITHOUT_PROGRESS_MAX: u32 = 5;

/// How far a fill is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Plan {
    received: u64,
    size: Option<u64>,
    /// Bytes of the current body that are held already: upstream ignored the Range.
    skip: u64,
    attempts_without_progress: u32,
    proven: bool,
}

/// What to do next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Next {
    /// Ask upstream for the bytes from `from` on.
    Ask {
        /// The first byte that is missing.
        from: u64,
        /// Which attempt without progress this is, from 1.
        attempt: u32,
    },
    /// Every byte is there: compare the digest.
    Prove,
    /// It cannot be finished.
    Stop(Stop),
}

/// Why a fill cannot be finished.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Stop {
    /// Upstream sent more than the size it gave.
    #[error("upstream sent more than the {size} bytes it had announced")]
    Overlong {
        /// The size it gave.
        size: u64,
    },
    /// Upstream gave another size when asked again.
    #[error("upstream gave {now} bytes as the size, and {before} before")]
    SizeChanged {
        /// The size it gave first.
        before: u64,
        /// The size it gave now.
        now: u64,
    },
    /// Upstream answered a Range with bytes further on.
    #[error("upstream began at byte {first} when asked for byte {wanted}")]
    Gap {
        /// The first byte of the answer.
        first: u64,
        /// The first byte that is missing.
        wanted: u64,
    },
    /// Upstream broke off again and again.
    #[error("upstream broke off {attempts} times in a row without a further byte")]
    NoProgress {
        /// How often.
        attempts: u32,
    },
}

impl Plan {
    /// Nothing asked for, nothing there. `size` is what the caller knows of it, if anything.
    pub fn new(size: Option<u64>) -> Self {
        Self { received: 0, size, skip: 0, attempts_without_progress: 0, proven: false }
    }

    /// `received` bytes are there already.
    pub fn at(received: u64, size: Option<u64>) -> Self {
        Self { received, ..Self::new(size) }
    }

    /// Upstream answers with a body that begins at byte `first` of `size` bytes in all.
    pub fn opened(&mut self, first: u64, size: Option<u64>) -> Result<(), Stop> {
        if first > self.received {
            return Err(Stop::Gap { first, wanted: self.received });
        }
        match (self.size, size) {
            (Some(before), Some(now)) if before != now => return Err(Stop::SizeChanged { before, now }),
            (None, now) => self.size = now,
            _ => {}
        }
        self.skip = self.received - first;
        Ok(())
    }

    /// Bytes came in; gives how many at their start are held already and are to be dropped.
    pub fn received(&mut self, length: usize) -> Result<usize, Stop> {
        let length = length as u64;
        let drop = self.skip.min(length);
        self.skip -= drop;
        let kept = length - drop;
        if let Some(size) = self.size
            && self.received + kept > size
        {
            return Err(Stop::Overlong { size });
        }
        if kept > 0 {
            self.received += kept;
            self.attempts_without_progress = 0;
        }
        Ok(usize::try_from(drop).expect("at most the length of a buffer"))
    }

    /// The body came to its proper end.
    pub fn ended(&mut self) -> Next {
        match self.size {
            Some(size) if self.received < size => self.cut(),
            _ => {
                self.size = Some(self.received);
                Next::Prove
            }
        }
    }

    /// The body broke off, or there was no answer.
    pub fn cut(&mut self) -> Next {
        if self.size == Some(self.received) && self.received > 0 {
            return Next::Prove;
        }
        self.attempts_without_progress += 1;
        if self.attempts_without_progress >= ATTEMPTS_WITHOUT_PROGRESS_MAX {
            return Next::Stop(Stop::NoProgress { attempts: self.attempts_without_progress });
        }
        Next::Ask { from: self.received, attempt: self.attempts_without_progress }
    }

    /// The bytes are those of the digest.
    pub fn proven(&mut self) {
        self.proven = true;
    }

    /// How many bytes, from the first on, readers may have.
    pub fn deliverable_bytes(&self) -> u64 {
        if self.proven {
            return self.received;
        }
        self.received.min(self.size.unwrap_or(self.received).saturating_sub(WITHHELD_BYTES))
    }

    /// How many bytes are there.
    pub fn received_bytes(&self) -> u64 {
        self.received
    }

    /// The size of the whole, where it is known.
    pub fn size_bytes(&self) -> Option<u64> {
        self.size
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_cut_is_resumed_where_it_happened() {
        let mut plan = Plan::new(None);
        plan.opened(0, Some(10_000)).unwrap();
        assert_eq!(plan.received(6_000), Ok(0));
        assert_eq!(plan.cut(), Next::Ask { from: 6_000, attempt: 1 });
        plan.opened(6_000, Some(10_000)).unwrap();
        assert_eq!(plan.received(4_000), Ok(0));
        assert_eq!(plan.ended(), Next::Prove);
    }

    #[test]
    fn an_upstream_without_range_is_read_from_the_start_and_nothing_is_kept_twice() {
        let mut plan = Plan::new(Some(100));
        plan.opened(0, Some(100)).unwrap();
        plan.received(60).unwrap();
        plan.cut();
        plan.opened(0, Some(100)).unwrap();
        assert_eq!(plan.received(50), Ok(50));
        assert_eq!(plan.received(50), Ok(10));
        assert_eq!(plan.ended(), Next::Prove);
    }

    #[test]
    fn five_attempts_without_a_byte_end_it_but_progress_starts_the_count_anew() {
        let mut plan = Plan::new(Some(100));
        for _ in 0..20 {
            plan.opened(plan.received_bytes(), Some(100)).unwrap();
            plan.received(1).unwrap();
            assert!(matches!(plan.cut(), Next::Ask { attempt: 1, .. }));
        }
        for attempt in 2..5 {
            assert_eq!(plan.cut(), Next::Ask { from: 20, attempt });
        }
        assert_eq!(plan.cut(), Next::Stop(Stop::NoProgress { attempts: 5 }));
    }

    #[test]
    fn what_does_not_fit_stops_it() {
        let mut plan = Plan::new(Some(10));
        plan.opened(0, Some(10)).unwrap();
        assert_eq!(plan.received(11), Err(Stop::Overlong { size: 10 }));
        assert_eq!(plan.opened(3, Some(10)), Err(Stop::Gap { first: 3, wanted: 0 }));
        assert_eq!(plan.opened(0, Some(11)), Err(Stop::SizeChanged { before: 10, now: 11 }));
    }

    #[derive(Debug, Clone)]
    enum Event {
        Bytes(usize),
        Cut,
        End,
    }

    fn event() -> impl Strategy<Value = Event> {
        prop_oneof![4 => (0usize..40_000).prop_map(Event::Bytes), 1 => Just(Event::Cut), 1 => Just(Event::End)]
    }

    proptest! {
        /// An upstream that answers honestly from any byte at or before the wanted one, cut anywhere.
        #[test]
        fn any_order_of_events_ends_with_every_byte_once_or_with_a_stop(
            size in 0u64..100_000,
            announced in any::<bool>(),
            honours_range in any::<bool>(),
            events in prop::collection::vec(event(), 0..60),
        ) {
            let mut plan = Plan::new(None);
            let mut kept = Vec::new();
            let mut at = 0u64;
            plan.opened(0, announced.then_some(size)).unwrap();
            for event in events {
                let next = match event {
                    Event::Bytes(length) => {
                        let length = (length as u64).min(size - at);
                        let drop = plan.received(length as usize).unwrap() as u64;
                        if length > drop {
                            kept.push((at + drop, at + length));
                        }
                        at += length;
                        None
                    }
                    Event::Cut => Some(plan.cut()),
                    // Without an announced size only a body that is whole can end properly.
                    Event::End if at == size || announced => Some(plan.ended()),
                    Event::End => None,
                };
                prop_assert!(plan.deliverable_bytes() <= plan.received_bytes());
                prop_assert!(plan.deliverable_bytes() < size || size == 0, "whole before it was proven");
                match next {
                    None => {}
                    Some(Next::Ask { from, .. }) => {
                        prop_assert_eq!(from, plan.received_bytes());
                        at = if honours_range { from } else { 0 };
                        plan.opened(at, announced.then_some(size)).unwrap();
                    }
                    Some(Next::Prove) => {
                        let mut end = 0;
                        for (first, last) in &kept {
                            prop_assert_eq!(*first, end);
                            end = *last;
                        }
                        prop_assert_eq!(end, size);
                        plan.proven();
                        prop_assert_eq!(plan.deliverable_bytes(), size);
                        return Ok(());
                    }
                    Some(Next::Stop(stop)) => {
                        prop_assert_eq!(stop, Stop::NoProgress { attempts: ATTEMPTS_WITHOUT_PROGRESS_MAX });
                        return Ok(());
                    }
                }
            }
        }
    }
}
