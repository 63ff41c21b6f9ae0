//! A call of gRPC to a backend: one message there, one status back.
//!
//! Promises: a call without a status is no success.
//! Never: streams.

use bytes::Bytes;
use http::{
    HeaderMap, HeaderValue, Method, Request, Response, StatusCode, Version,
    header::{CONTENT_TYPE, TE, USER_AGENT},
};

use super::{AGENT, Compression, Otlp, Target, meaning};
use crate::{
    aws::Fault,
    deliver::{Answer, Cause},
    net::{
        http::{HttpClient, Trailers},
        pieces::Pieces,
    },
    otlp::frame::{self, HEAD},
};

impl Otlp {
    pub(super) async fn call(&self, client: &HttpClient, target: &Target, headers: &HeaderMap, body: &Bytes) -> Answer {
        let (is_gzip, message) = (self.compression == Compression::Gzip, self.compressed(body).await);
        let Some(head) = frame::head(is_gzip, message.len()) else {
            return Answer::Divide { detail: "the request is larger than a message of grpc".to_owned() };
        };
        let mut request = Request::new(Pieces::behind(&head, message));
        *request.method_mut() = Method::POST;
        *request.uri_mut() = target.uri().clone();
        *request.version_mut() = Version::HTTP_2;
        let all = request.headers_mut();
        *all = headers.clone();
        all.insert(CONTENT_TYPE, HeaderValue::from_static("application/grpc"));
        all.insert(TE, HeaderValue::from_static("trailers"));
        all.insert(USER_AGENT, AGENT);
        if is_gzip {
            all.insert("grpc-encoding", HeaderValue::from_static("gzip"));
        }
        match client.send_pieces(request, self.bounds).await {
            Ok(answer) => of_answer(&answer),
            Err(error) => Answer::from(Fault::from(error)),
        }
    }
}

fn of_answer(answer: &Response<Bytes>) -> Answer {
    let trailers = answer.extensions().get::<Trailers>().map(|Trailers(trailers)| trailers);
    let has_status = |headers: &&HeaderMap| headers.contains_key("grpc-status");
    let said = trailers.into_iter().chain([answer.headers()]).find(has_status);
    let code = said.and_then(|headers| headers["grpc-status"].to_str().ok()?.parse().ok());
    match (said, code) {
        (Some(_), Some(0)) => meaning::of_success(answer.body().get(HEAD..).unwrap_or_default()),
        (Some(headers), Some(code)) => meaning::of_grpc(code, headers),
        // Somebody between us and the backend, or one that broke off.
        _ if answer.status() != StatusCode::OK => meaning::of_http(answer),
        _ => Answer::Again { cause: Cause::Ambiguous, detail: "the answer has no grpc-status".to_owned(), after: None },
    }
}
