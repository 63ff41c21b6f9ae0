//! News of the files: which generation there is, by one answer that waits or by a stream of them.
//!
//! Promises: an answer names numbers and version ids; a caller who is behind is answered at once, also when its number comes
//! from before a restart; nobody is told of a generation before it is known which one is on the volume.
//! Never: holds a value; keeps a caller for longer than [`WAIT`] without a word.

use std::{
    convert::Infallible,
    future::Future,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
    time::Duration,
};

use bytes::Bytes;
use http::{
    HeaderMap, HeaderValue, Response, StatusCode,
    header::{ACCEPT, CACHE_CONTROL, CONTENT_TYPE},
};
use http_body_util::Either;
use hyper::body::Frame;
use tokio::{
    sync::{OwnedSemaphorePermit, watch},
    time::timeout,
};

use super::{
    Generation,
    answer::{Body, json},
};

/// Callers who wait at a time: one per program of the task, and some to spare. They take connections from the others.
pub(super) const WAITING_MAX: usize = 64;
/// The longest wait for news. Clients give up after 60 s, most of them.
pub(super) const WAIT: Duration = Duration::from_secs(30);

/// The number of the last event that a stream had before it broke.
pub(super) fn last_event(headers: &HeaderMap) -> Option<u64> {
    headers.get("last-event-id")?.to_str().ok()?.parse().ok()
}

/// True if a stream is wanted.
pub(super) fn wants_stream(headers: &HeaderMap) -> bool {
    let names = |list: &HeaderValue| list.to_str().is_ok_and(|list| list.contains("text/event-stream"));
    headers.get_all(ACCEPT).iter().any(names)
}

/// The newest generation, as soon as it is not number `since`, or after a while in any case.
pub(super) async fn answer(mut news: watch::Receiver<Arc<Generation>>, since: Option<u64>) -> Response<Body> {
    // Time over or no more news: the answer is the generation that there is.
    let _ = timeout(WAIT, news.wait_for(|generation| is_news(generation, since))).await;
    let newest = Arc::clone(&news.borrow());
    json(StatusCode::OK, &*newest)
}

/// Every generation from now on, but not number `since`.
pub(super) fn stream(
    news: watch::Receiver<Arc<Generation>>,
    since: Option<u64>,
    place: OwnedSemaphorePermit,
) -> Response<Body> {
    let next = Box::pin(next(news, since));
    let mut response = Response::new(Either::Right(EventStream { next, _place: place }));
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/event-stream"));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

/// Number 0 is none: after a start it is the one before the volume was looked at.
fn is_news(generation: &Generation, since: Option<u64>) -> bool {
    generation.number != 0 && Some(generation.number) != since
}

/// What comes next, and with what to go on.
struct Next {
    bytes: Bytes,
    news: watch::Receiver<Arc<Generation>>,
    since: Option<u64>,
}

/// `None` when there will be no more.
async fn next(mut news: watch::Receiver<Arc<Generation>>, since: Option<u64>) -> Option<Next> {
    let waited = timeout(WAIT, news.wait_for(|generation| is_news(generation, since))).await;
    let newest = waited.map(|waited| waited.map(|generation| Arc::clone(&generation)));
    // Time is over: a comment, so that both sides notice when the other is gone.
    let Ok(newest) = newest else { return Some(Next { bytes: Bytes::from_static(b":\n\n"), news, since }) };
    let newest = newest.ok()?;
    let data = serde_json::to_string(&*newest).ok()?;
    let number = newest.number;
    let bytes = format!("id: {number}\nevent: generation\ndata: {data}\n\n").into();
    Some(Next { bytes, news, since: Some(number) })
}

/// A body that goes on for as long as there may be news.
pub(super) struct EventStream {
    next: Pin<Box<dyn Future<Output = Option<Next>> + Send>>,
    _place: OwnedSemaphorePermit,
}

impl hyper::body::Body for EventStream {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let Some(Next { bytes, news, since }) = ready!(self.next.as_mut().poll(cx)) else { return Poll::Ready(None) };
        self.next = Box::pin(next(news, since));
        Poll::Ready(Some(Ok(Frame::data(bytes))))
    }
}

#[cfg(test)]
#[path = "events_tests.rs"]
mod tests;
