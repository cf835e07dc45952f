//! Frames out of a stream that comes in pieces.

use super::{HEADER, Header, Limits, Refusal};

/// As long as no more than this came, memory follows what came; after that the rest of the frame is made room for at once.
const TRUST: usize = 1 << 18;

/// Cuts a stream into frames. Holds at most one unfinished frame.
#[derive(Debug)]
pub struct FrameReader {
    limits: Limits,
    held: Vec<u8>,
    refused: bool,
}

impl FrameReader {
    pub fn new(limits: Limits) -> Self {
        Self { limits, held: Vec::new(), refused: false }
    }

    pub fn limits(&self) -> Limits {
        self.limits
    }

    /// Bytes of an unfinished frame.
    pub fn pending(&self) -> usize {
        self.held.len()
    }

    /// Refuses whatever comes from now on.
    pub fn refuse(&mut self) {
        self.refused = true;
        self.held = Vec::new();
    }

    /// Takes `piece` and gives `work` each frame that it completes. After a refusal, its own or one of `work`, everything
    /// that follows is refused.
    pub fn feed<E: From<Refusal>>(
        &mut self,
        mut piece: &[u8],
        mut work: impl FnMut(&[u8]) -> Result<(), E>,
    ) -> Result<(), E> {
        if self.refused {
            return Err(Refusal::Refused.into());
        }
        while !piece.is_empty() {
            let done = match self.step(piece) {
                Ok(None) => return Ok(()),
                Ok(Some((rest, whole))) => {
                    let used = &piece[..piece.len() - rest.len()];
                    let done = work(if whole { used } else { &self.held });
                    self.held.clear();
                    if self.held.capacity() > TRUST {
                        self.held = Vec::new();
                    }
                    piece = rest;
                    done
                }
                Err(refusal) => Err(refusal.into()),
            };
            if let Err(error) = done {
                self.refuse();
                return Err(error);
            }
        }
        Ok(())
    }

    /// What is left of `piece` behind a frame, and whether that frame is whole in `piece`, or else is in `held`.
    fn step<'a>(&mut self, piece: &'a [u8]) -> Result<Option<(&'a [u8], bool)>, Refusal> {
        let mut rest = piece;
        if self.held.is_empty()
            && let Some(head) = piece.first_chunk::<HEADER>()
        {
            let length = Header::parse(head, self.limits)?.frame_len();
            if let Some(rest) = piece.get(length..) {
                return Ok(Some((rest, true)));
            }
        }
        if self.held.len() < HEADER {
            let (head, behind) = rest.split_at(rest.len().min(HEADER - self.held.len()));
            self.held.extend_from_slice(head);
            rest = behind;
        }
        let Some(head) = self.held.first_chunk::<HEADER>() else { return Ok(None) };
        let length = Header::parse(head, self.limits)?.frame_len();
        let (more, rest) = rest.split_at(rest.len().min(length - self.held.len()));
        if self.held.len() + more.len() > TRUST {
            self.held.reserve_exact(length - self.held.len());
        }
        self.held.extend_from_slice(more);
        Ok((self.held.len() == length).then_some((rest, false)))
    }

    /// Whether the stream may end here.
    pub fn finish(&self) -> Result<(), Refusal> {
        if self.refused {
            return Err(Refusal::Refused);
        }
        let need = match self.held.first_chunk::<HEADER>() {
            _ if self.held.is_empty() => return Ok(()),
            None => HEADER,
            Some(head) => Header::parse(head, self.limits)?.frame_len(),
        };
        Err(Refusal::Short { have: self.held.len(), need })
    }
}
