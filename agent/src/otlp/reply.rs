//! Bodies of answers.
//!
//! Promises: an answer of gRPC ends with its trailers.
//! Never: fails.

use std::{
    convert::Infallible,
    pin::Pin,
    task::{Context, Poll},
};

use bytes::Bytes;
use http::{HeaderMap, HeaderValue};
use hyper::body::{Body, Frame, SizeHint};

/// A frame of gRPC with an empty message, which is what a request that was taken whole is answered.
const EMPTY_MESSAGE: &[u8] = &[0; 5];

/// What is left to send of an answer.
#[derive(Debug, Default)]
pub(super) struct Reply {
    data: Option<Bytes>,
    trailers: Option<HeaderMap>,
}

impl Reply {
    /// Nothing, in HTTP or in an answer of gRPC that is all headers.
    pub(super) fn empty() -> Self {
        Self::default()
    }

    /// A body of HTTP.
    pub(super) fn of(body: Bytes) -> Self {
        Self { data: Some(body).filter(|body| !body.is_empty()), trailers: None }
    }

    /// A call of gRPC that succeeded.
    pub(super) fn success() -> Self {
        let mut trailers = HeaderMap::new();
        trailers.insert("grpc-status", HeaderValue::from_static("0"));
        Self { data: Some(Bytes::from_static(EMPTY_MESSAGE)), trailers: Some(trailers) }
    }
}

impl Body for Reply {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let data = self.data.take().map(Frame::data);
        Poll::Ready(data.or_else(|| self.trailers.take().map(Frame::trailers)).map(Ok))
    }

    fn is_end_stream(&self) -> bool {
        self.data.is_none() && self.trailers.is_none()
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.data.as_ref().map_or(0, |data| data.len() as u64))
    }
}
