//! `POST /dicomweb/studies`: images come in by STOW-RS (PS3.18, section 10.5), and their results are stored in the archive
//! before the client is told that its images were taken. A client that is told otherwise sends them again, and their
//! results are then the same objects.

use std::sync::Arc;

use axum::extract::{Path, Request, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use dicom::{Header, ReadOptions};
use serde_json::{Map, Value, json};
use tokio::task::spawn_blocking;

use crate::answer::{Completed, Wanted, WantedSegments};
use crate::archive::Archive;
use crate::problem::Problem;
use crate::routes::{Named, Service, respond};

/// Reasons for failure (PS3.18, section 10.5.3; PS3.4, table B.2-1).
mod reason {
    pub(super) const OUT_OF_RESOURCES: u16 = 0xA700;
    pub(super) const NOT_THE_STUDY: u16 = 0xA900;
    pub(super) const NOT_UNDERSTOOD: u16 = 0xC000;
    pub(super) const PROCESSING: u16 = 0x0110;
}

/// What a client is told about an instance that it has sent.
struct Instance {
    class: Option<String>,
    instance: Option<String>,
    study: Option<String>,
    failure: Option<u16>,
}

pub(crate) async fn studies(state: State<Arc<Service>>, request: Request) -> Response {
    store(state, None, request).await
}

pub(crate) async fn study(
    state: State<Arc<Service>>,
    Path(study): Path<String>,
    request: Request,
) -> Response {
    store(state, Some(study), request).await
}

async fn store(
    State(service): State<Arc<Service>>,
    study: Option<String>,
    request: Request,
) -> Response {
    let Some(archive) = service.options.archive.clone() else {
        let detail = "this service has no archive for results: start it with --archive URL";
        return Problem::new(StatusCode::NOT_IMPLEMENTED, detail).into_response();
    };
    let wanted = Wanted {
        pictures: false,
        dicom: Some(WantedSegments::Binary),
        view: false,
    };
    let stored = async |_: &str, answered: Result<Vec<Named>, Problem>| {
        let images = match answered {
            Ok(images) => images,
            Err(problem) => return problem.into_response(),
        };
        let mut instances = vec![];
        for image in images {
            instances.push(instance(&archive, study.as_deref(), image).await);
        }
        response(&archive, &instances)
    };
    respond(&service, request, Ok(wanted), stored).await
}

/// Stores the results of an image, unless it has none.
async fn instance(archive: &Archive, study: Option<&str>, image: Named) -> Instance {
    let header = dicom::header(&image.bytes, &ReadOptions::default()).ok();
    let of = |part: fn(Header) -> Option<String>| header.clone().and_then(part);
    let own = of(|header| header.study_uid);
    let failure = match (study, own.as_deref()) {
        (Some(study), own) if own != Some(study) => Some(reason::NOT_THE_STUDY),
        _ => results(archive, image.result).await.err(),
    };
    Instance {
        class: of(|header| header.sop_class_uid),
        instance: of(|header| header.sop_instance_uid),
        study: own,
        failure,
    }
}

async fn results(archive: &Archive, result: Result<Completed, Problem>) -> Result<(), u16> {
    let completed = result.map_err(|problem| match problem.passes() {
        true => reason::OUT_OF_RESOURCES,
        false => reason::NOT_UNDERSTOOD,
    })?;
    let objects = completed.dicom.ok_or(reason::PROCESSING)?;
    let archive = archive.clone();
    let stored = spawn_blocking(move || archive.store(&objects)).await;
    match stored {
        Ok(Ok(())) => Ok(()),
        Ok(Err(error)) => {
            terminal::say(&format!("error: {error:#}"));
            Err(reason::PROCESSING)
        }
        Err(_) => Err(reason::PROCESSING),
    }
}

/// The response: 200 if all were taken, 409 if none was, otherwise 202.
fn response(archive: &Archive, instances: &[Instance]) -> Response {
    let (taken, refused): (Vec<&Instance>, Vec<&Instance>) = instances
        .iter()
        .partition(|instance| instance.failure.is_none());
    let status = match (taken.is_empty(), refused.is_empty()) {
        (_, true) => StatusCode::OK,
        (true, false) => StatusCode::CONFLICT,
        (false, false) => StatusCode::ACCEPTED,
    };
    let mut set = Map::new();
    let studies: Vec<&String> = taken.iter().filter_map(|i| i.study.as_ref()).collect();
    if let [first, rest @ ..] = studies.as_slice()
        && rest.iter().all(|other| other == first)
    {
        set.insert(
            "00081190".into(),
            json!({"vr": "UR", "Value": [archive.study(first)]}),
        );
    }
    for (tag, instances) in [("00081198", refused), ("00081199", taken)] {
        if !instances.is_empty() {
            let items: Vec<Value> = instances.into_iter().map(item).collect();
            set.insert(tag.into(), json!({"vr": "SQ", "Value": items}));
        }
    }
    let media = [(header::CONTENT_TYPE, "application/dicom+json")];
    (status, media, Value::Object(set).to_string()).into_response()
}

/// An instance in the DICOM JSON model (PS3.18, annex F).
fn item(instance: &Instance) -> Value {
    let mut item = Map::new();
    for (tag, uid) in [
        ("00081150", &instance.class),
        ("00081155", &instance.instance),
    ] {
        if let Some(uid) = uid {
            item.insert(tag.into(), json!({"vr": "UI", "Value": [uid]}));
        }
    }
    if let Some(reason) = instance.failure {
        item.insert("00081197".into(), json!({"vr": "US", "Value": [reason]}));
    }
    Value::Object(item)
}
