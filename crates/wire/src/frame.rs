// SPDX-License-Identifier: GPL-2.0-only
//! Frames: a little-endian `u32` length, then that many bytes of one message.

use alloc::vec::Vec;
use core::marker::PhantomData;

use serde::{Serialize, de::DeserializeOwned};
use thiserror::Error;

/// The longest message in bytes. A longer one is refused by both sides, so that a corrupt length can't
/// make the reader allocate without bound. Senders cut payload into pieces of [`CHUNK`].
pub const MAX_MESSAGE: usize = 1 << 20;

/// How much payload (file content, output) a sender puts into one message, in bytes.
pub const CHUNK: usize = 256 << 10;

const HEADER: usize = size_of::<u32>();

/// Why bytes from the other side are not a message.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum FrameError {
    /// The header announces more than [`MAX_MESSAGE`] bytes.
    #[error("a message of {length} bytes is announced, more than the {MAX_MESSAGE} allowed")]
    TooLong {
        /// The announced length in bytes.
        length: usize,
    },
    /// The bytes of a whole frame are no message of the expected kind.
    #[error("a message of {length} bytes does not decode")]
    Malformed {
        /// The frame's length in bytes.
        length: usize,
    },
}

/// Encodes one message as a frame.
///
/// # Errors
///
/// [`FrameError::TooLong`] when the message takes more than [`MAX_MESSAGE`] bytes;
/// [`FrameError::Malformed`] when it can't be encoded at all.
pub fn encode<T: Serialize>(message: &T) -> Result<Vec<u8>, FrameError> {
    let mut frame = postcard::to_extend(message, Vec::from([0u8; HEADER]))
        .map_err(|_| FrameError::Malformed { length: 0 })?;
    let length = frame.len() - HEADER;
    if length > MAX_MESSAGE {
        return Err(FrameError::TooLong { length });
    }
    frame[..HEADER].copy_from_slice(&(length as u32).to_le_bytes());
    Ok(frame)
}

/// How many bytes at the beginning are whole frames, for who passes them on without a look at what they say.
pub fn whole(bytes: &[u8]) -> usize {
    let mut end = 0;
    while let Some((header, rest)) = bytes[end..].split_first_chunk::<HEADER>()
        && let length = u32::from_le_bytes(*header) as usize
        && rest.len() >= length
    {
        end += HEADER + length;
    }
    end
}

/// Puts messages together from bytes that come in pieces.
///
/// After an error the stream has no meaning any more: the decoder keeps returning that error.
#[derive(Debug)]
pub struct Decoder<T> {
    bytes: Vec<u8>,
    read: usize,
    failed: Option<FrameError>,
    message: PhantomData<fn() -> T>,
}

impl<T> Default for Decoder<T> {
    fn default() -> Self {
        Self { bytes: Vec::new(), read: 0, failed: None, message: PhantomData }
    }
}

impl<T: DeserializeOwned> Decoder<T> {
    /// Takes bytes as they were received.
    pub fn push(&mut self, bytes: &[u8]) {
        self.bytes.drain(..self.read);
        self.read = 0;
        self.bytes.extend_from_slice(bytes);
    }

    /// The next whole message, or `None` until more bytes have come.
    ///
    /// # Errors
    ///
    /// [`FrameError`] when the bytes are no message; the stream can't be used further.
    #[expect(clippy::should_implement_trait, reason = "more bytes may follow a `None`")]
    pub fn next(&mut self) -> Result<Option<T>, FrameError> {
        if let Some(error) = &self.failed {
            return Err(error.clone());
        }
        self.decode().inspect_err(|error| self.failed = Some(error.clone()))
    }

    fn decode(&mut self) -> Result<Option<T>, FrameError> {
        let unread = &self.bytes[self.read..];
        let Some((header, rest)) = unread.split_first_chunk::<HEADER>() else {
            return Ok(None);
        };
        let length = u32::from_le_bytes(*header) as usize;
        if length > MAX_MESSAGE {
            return Err(FrameError::TooLong { length });
        }
        let Some(body) = rest.get(..length) else {
            return Ok(None);
        };
        let (message, left) =
            postcard::take_from_bytes(body).map_err(|_| FrameError::Malformed { length })?;
        if !left.is_empty() {
            return Err(FrameError::Malformed { length });
        }
        self.read += HEADER + length;
        Ok(Some(message))
    }
}

#[cfg(test)]
mod tests {
    use alloc::string::String;
    use alloc::vec;

    use proptest::prelude::*;

    use super::*;
    use crate::{Reply, Request};

    #[test]
    fn a_length_beyond_the_limit_is_refused_before_its_bytes_are_waited_for() {
        let mut decoder = Decoder::<Reply>::default();
        decoder.push(&(MAX_MESSAGE as u32 + 1).to_le_bytes());
        let error = FrameError::TooLong { length: MAX_MESSAGE + 1 };
        assert_eq!(decoder.next(), Err(error.clone()));
        decoder.push(&[0; 64]);
        assert_eq!(decoder.next(), Err(error), "a failed stream stays failed");
    }

    #[test]
    fn a_message_that_is_too_long_is_not_encoded() {
        let request = Request::Stdin { data: vec![0; MAX_MESSAGE + 1] };
        assert!(matches!(encode(&request), Err(FrameError::TooLong { .. })));
    }

    #[test]
    fn whole_frames_are_told_from_one_that_is_not() {
        let frame = encode(&Request::PowerOff).unwrap();
        let two = [&frame[..], &frame].concat();
        for cut in 0..=two.len() {
            assert_eq!(whole(&two[..cut]), cut / frame.len() * frame.len());
        }
    }

    #[test]
    fn bytes_left_over_in_a_frame_are_refused() {
        let mut frame = encode(&Request::PowerOff).unwrap();
        frame.push(0);
        frame[0] += 1;
        let mut decoder = Decoder::<Request>::default();
        decoder.push(&frame);
        assert_eq!(decoder.next(), Err(FrameError::Malformed { length: 2 }));
    }

    proptest! {
        #[test]
        fn messages_survive_any_cutting(texts in prop::collection::vec(".{0,40}", 1..8), cut in 1usize..9) {
            let sent: Vec<Request> = texts
                .into_iter()
                .map(|path| Request::Load { path, parameters: String::new() })
                .collect();
            let bytes: Vec<u8> = sent.iter().flat_map(|m| encode(m).unwrap()).collect();
            let mut decoder = Decoder::<Request>::default();
            let mut received = Vec::new();
            for piece in bytes.chunks(cut) {
                decoder.push(piece);
                while let Some(message) = decoder.next().unwrap() {
                    received.push(message);
                }
            }
            prop_assert_eq!(received, sent);
        }

        #[test]
        fn no_bytes_make_the_decoder_panic(bytes in prop::collection::vec(any::<u8>(), 0..256)) {
            let mut decoder = Decoder::<Reply>::default();
            decoder.push(&bytes);
            while let Ok(Some(_)) = decoder.next() {}
        }
    }
}
