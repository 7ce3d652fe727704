//! Authentication: trust, cleartext, md5, SCRAM-SHA-256 and SCRAM-SHA-256-PLUS.

use super::ReplicationConnection;
use super::frames::Frame;
use crate::connection::{ConnectOptions, Failure};
use bytes::BytesMut;
use fallible_iterator::FallibleIterator;
use postgres_protocol::authentication::md5_hash;
use postgres_protocol::authentication::sasl::{self, ScramSha256};
use postgres_protocol::message::backend::{AuthenticationSaslBody, Message};
use postgres_protocol::message::frontend;
use std::io;
use tokio_postgres::config::ChannelBinding;

/// Logs in and waits until the server is ready. `end_point`: what binds the login to its TLS session, if there is one.
pub(super) async fn log_in(
    options: &ConnectOptions,
    connection: &mut ReplicationConnection,
    end_point: Option<Vec<u8>>,
) -> Result<(), Failure> {
    let password = || options.password().ok_or_else(|| Failure::Login("the server asks for a password".into()));
    let unbound = || match options.channel_binding() {
        ChannelBinding::Require => Err(Failure::Login("the server does not bind the login to the TLS session".into())),
        _ => Ok(()),
    };
    let mut bound = false;
    let mut scram: Option<ScramSha256> = None;
    let mut proven = false;
    loop {
        let frame = connection.reader.next().await?;
        let mut reply = BytesMut::new();
        match parse(&frame)? {
            Message::AuthenticationOk => {
                // A server that skips the last step of SCRAM has not shown that it knows the password.
                if scram.is_some() && !proven {
                    return Err(Failure::Login("the server did not prove that it knows the password".into()));
                }
                if !bound {
                    unbound()?;
                }
            }
            Message::AuthenticationCleartextPassword => {
                unbound()?;
                frontend::password_message(password()?, &mut reply)?;
            }
            Message::AuthenticationMd5Password(body) => {
                unbound()?;
                let hash = md5_hash(options.user().as_bytes(), password()?, body.salt());
                frontend::password_message(hash.as_bytes(), &mut reply)?;
            }
            Message::AuthenticationSasl(body) => {
                let allowed = end_point.clone().filter(|_| options.channel_binding() != ChannelBinding::Disable);
                let (name, binding) = choose_mechanism(&body, allowed)?;
                bound = name == sasl::SCRAM_SHA_256_PLUS;
                if !bound {
                    unbound()?;
                }
                let mechanism = scram.insert(ScramSha256::new(password()?, binding));
                frontend::sasl_initial_response(name, mechanism.message(), &mut reply)?;
            }
            Message::AuthenticationSaslContinue(body) => {
                let mechanism = scram.as_mut().ok_or_else(out_of_order)?;
                mechanism.update(body.data()).map_err(refused)?;
                frontend::sasl_response(mechanism.message(), &mut reply)?;
            }
            Message::AuthenticationSaslFinal(body) => {
                scram.as_mut().ok_or_else(out_of_order)?.finish(body.data()).map_err(refused)?;
                proven = true;
            }
            Message::ReadyForQuery(_) => return Ok(()),
            Message::ErrorResponse(_) => return Err(frame.error()),
            Message::ParameterStatus(_) | Message::BackendKeyData(_) | Message::NoticeResponse(_) => {}
            _ => {
                return Err(Failure::Login(
                    "the server asks for a method of login that rowferry does not speak".into(),
                ));
            }
        }
        if !reply.is_empty() {
            connection.writer.send(&reply).await?;
        }
    }
}

fn choose_mechanism(
    body: &AuthenticationSaslBody,
    end_point: Option<Vec<u8>>,
) -> Result<(&'static str, sasl::ChannelBinding), Failure> {
    let (mut plain, mut plus) = (false, false);
    body.mechanisms()
        .for_each(|name| {
            plain |= name == sasl::SCRAM_SHA_256;
            plus |= name == sasl::SCRAM_SHA_256_PLUS;
            Ok(())
        })
        .map_err(|error| Failure::Protocol(error.to_string()))?;
    match (plus, plain, end_point) {
        (true, _, Some(end_point)) => {
            Ok((sasl::SCRAM_SHA_256_PLUS, sasl::ChannelBinding::tls_server_end_point(end_point)))
        }
        // We could bind but the server did not offer it: saying so lets it notice that somebody took the offer away.
        (false, true, Some(_)) => Ok((sasl::SCRAM_SHA_256, sasl::ChannelBinding::unrequested())),
        (_, true, None) => Ok((sasl::SCRAM_SHA_256, sasl::ChannelBinding::unsupported())),
        _ => Err(Failure::Login("the server offers no SCRAM-SHA-256".into())),
    }
}

fn refused(error: io::Error) -> Failure {
    Failure::Login(error.to_string())
}

fn out_of_order() -> Failure {
    Failure::Protocol("the steps of the login come out of order".into())
}

/// A small frame in the terms of postgres-protocol, which knows all of them but CopyBoth.
pub(super) fn parse(frame: &Frame) -> Result<Message, Failure> {
    let mut bytes = BytesMut::with_capacity(frame.body.len() + 5);
    let len = u32::try_from(frame.body.len() + 4).unwrap_or(u32::MAX);
    bytes.extend_from_slice(&[frame.tag]);
    bytes.extend_from_slice(&len.to_be_bytes());
    bytes.extend_from_slice(&frame.body);
    match Message::parse(&mut bytes) {
        Ok(Some(message)) => Ok(message),
        Ok(None) => Err(Failure::Protocol("a message is cut short".into())),
        Err(error) => Err(Failure::Protocol(error.to_string())),
    }
}
