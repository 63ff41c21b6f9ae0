//! AssumeRole and GetCallerIdentity of the Security Token Service.
//!
//! Promises: each call gives new credentials, and the fake knows for which role.
//! Never: gives a role to who may not have it.

use super::{Credentials, State, answer::Answer};

/// Who asks, for everybody who does.
pub(super) const CALLER: &str = "arn:aws:sts::123456789012:assumed-role/task/0123456789abcdef";

/// The body of an AssumeRole or a GetCallerIdentity, or why it is none.
pub(super) fn assume_role(state: &mut State, body: &[u8], number: usize) -> Answer {
    let text = String::from_utf8_lossy(body);
    if text == "Action=GetCallerIdentity&Version=2011-06-15" {
        let known = format!("<GetCallerIdentityResult><Arn>{CALLER}</Arn></GetCallerIdentityResult>");
        return xml(200, format!("<GetCallerIdentityResponse>{known}</GetCallerIdentityResponse>"));
    }
    let member = |name: &str| text.split('&').find_map(|pair| pair.strip_prefix(name)?.strip_prefix('=')).map(decoded);
    let (Some("AssumeRole"), Some(role), Some(session)) =
        (member("Action").as_deref(), member("RoleArn"), member("RoleSessionName"))
    else {
        state.violations.push(format!("request {number}: not an AssumeRole: {text}"));
        return xml(400, "<ErrorResponse><Error><Code>ValidationError</Code></Error></ErrorResponse>".to_owned());
    };
    if !state.roles.contains_key(&role) {
        let what = format!("User is not authorized to perform: sts:AssumeRole on resource: {role}");
        let error = format!("<Error><Type>Sender</Type><Code>AccessDenied</Code><Message>{what}</Message></Error>");
        return Answer { code: Some("AccessDenied"), ..xml(403, format!("<ErrorResponse>{error}</ErrorResponse>")) };
    }
    let credentials = Credentials {
        access_key: format!("ASIAROLE{number}"),
        secret: format!("role-secret-{number}"),
        token: Some(format!("role-token-{number}")),
        expires: None,
    };
    let Credentials { access_key, secret, .. } = &credentials;
    let given = format!(
        "<AssumeRoleResponse xmlns=\"https://sts.amazonaws.com/doc/2011-06-15/\"><AssumeRoleResult><AssumedRoleUser>\
         <Arn>{role}/{session}</Arn><AssumedRoleId>AROA:{session}</AssumedRoleId></AssumedRoleUser><Credentials>\
         <AccessKeyId>{access_key}</AccessKeyId><SecretAccessKey>{secret}</SecretAccessKey>\
         <SessionToken>role-token-{number}</SessionToken><Expiration>2100-01-01T00:00:00Z</Expiration></Credentials>\
         </AssumeRoleResult><ResponseMetadata><RequestId>{number}</RequestId></ResponseMetadata></AssumeRoleResponse>"
    );
    state.roles.entry(role).or_default().push(credentials.access_key.clone());
    state.credentials.push(credentials);
    xml(200, given)
}

fn xml(status: u16, body: String) -> Answer {
    Answer { content_type: "text/xml", ..Answer::json(status, body) }
}

/// Undoes the percent-encoding of a form.
fn decoded(text: &str) -> String {
    let mut bytes = Vec::new();
    let mut rest = text.as_bytes();
    while let [first, after @ ..] = rest {
        rest = after;
        match (first, after) {
            (b'%', [high, low, after @ ..]) => {
                let digits = [*high, *low].map(|digit| (digit as char).to_digit(16).unwrap_or(0) as u8);
                bytes.push(digits[0] * 16 + digits[1]);
                rest = after;
            }
            (b'+', _) => bytes.push(b' '),
            _ => bytes.push(*first),
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}
