//! The distribution API, request by request.
//!
//! <https://github.com/opencontainers/distribution-spec/blob/main/spec.md>

use aws_sdk_sqs::types::QueueAttributeName;
use reqwest::Method;
use serde_json::{Value, json};
use tokio::io::AsyncWriteExt;

use crate::stand::{INDEX, MANIFEST, Stand, eventually, header, refused};
use crate::support::digest;

const BYTES: &str = "application/octet-stream";

/// <https://docs.aws.amazon.com/AmazonECR/latest/userguide/registry_auth.html>
pub(crate) async fn who_has_no_token_is_asked_to_log_in() {
    let stand = Stand::open().await;
    let tags = format!("{}/tags/list", stand.repository);
    for path in ["", &tags] {
        let stranger = stand.stranger(Method::GET, path).send().await.unwrap();
        let how = header(&stranger, "www-authenticate");
        assert!(how.starts_with("Basic realm="), "{how}");
        assert_eq!(refused(stranger).await.0, 401);
        let wrong = stand.stranger(Method::GET, path);
        for (name, password) in [("AWS", "guessed"), ("root", stand.token())] {
            let wrong = wrong.try_clone().unwrap();
            let answer = wrong.basic_auth(name, Some(password)).send().await.unwrap();
            assert_eq!(answer.status(), 401, "{path} {name}");
        }
        let answer = stand.at(Method::GET, path).send().await.unwrap();
        assert_eq!(answer.status(), 200, "{path}");
        let version = header(&answer, "docker-distribution-api-version");
        assert_eq!(version, "registry/2.0");
    }
}

/// The words are ECR's (aws-actions/amazon-ecr-login#166).
pub(crate) async fn a_repository_that_is_not_there_is_named() {
    let stand = Stand::open().await;
    let upload = stand.at(Method::POST, "nowhere/blobs/uploads/");
    let answer = upload.send().await.unwrap();
    let (status, code, message) = refused(answer).await;
    assert_eq!((status, code.as_str()), (404, "NAME_UNKNOWN"));
    let words = "The repository with name 'nowhere' does not exist in the registry";
    assert!(message.starts_with(words), "{message}");
}

pub(crate) async fn a_blob_comes_at_once_or_in_chunks_and_goes_whole_or_in_part() {
    let stand = Stand::open().await;
    let blob = uuid::Uuid::new_v4().simple().to_string();
    let named = digest(&blob);
    let path = format!("blobs/{named}");
    let before = stand.request(Method::HEAD, &path).send().await.unwrap();
    assert_eq!(before.status(), 404);

    let begun = stand
        .request(Method::POST, "blobs/uploads/")
        .send()
        .await
        .unwrap();
    assert_eq!(begun.status(), 202);
    let first = stand
        .go_on(Method::PATCH, &begun)
        .header("content-range", "0-9");
    let first = first.body(blob[..10].to_owned()).send().await.unwrap();
    assert_eq!(
        (first.status().as_u16(), header(&first, "range")),
        (202, "0-9".to_owned())
    );
    // Docker does not say where a chunk begins.
    let second = stand
        .go_on(Method::PATCH, &first)
        .body(blob[10..20].to_owned());
    let second = second.send().await.unwrap();
    let told = stand.go_on(Method::GET, &second).send().await.unwrap();
    assert_eq!(
        (told.status().as_u16(), header(&told, "range")),
        (204, "0-19".to_owned())
    );
    let last = stand.complete(&second, &named);
    let last = last.body(blob[20..].to_owned()).send().await.unwrap();
    assert_eq!(last.status(), 201, "{last:?}");
    assert_eq!(header(&last, "docker-content-digest"), named);

    let whole = stand.go_on(Method::GET, &last).send().await.unwrap();
    assert_eq!(whole.text().await.unwrap(), blob);
    let head = stand.request(Method::HEAD, &path).send().await.unwrap();
    let told = ["content-length", "docker-content-digest"].map(|name| header(&head, name));
    assert_eq!(told, [blob.len().to_string(), named.clone()]);
    let part = stand
        .request(Method::GET, &path)
        .header("range", "bytes=5-9");
    let part = part.send().await.unwrap();
    assert_eq!(part.status(), 206);
    assert_eq!(
        header(&part, "content-range"),
        format!("bytes 5-9/{}", blob.len())
    );
    assert_eq!(part.text().await.unwrap(), blob[5..10]);
    // ECR's own API gives the same blob out.
    let layer = format!(
        "--repository-name {} --layer-digest {named}",
        stand.repository
    );
    let url = stand
        .cli(&format!("ecr get-download-url-for-layer {layer}"))
        .await;
    assert!(url.contains(&named), "{url}");

    // All at once, and all in the last request.
    let other = uuid::Uuid::new_v4().simple().to_string();
    let descriptor = stand.upload(BYTES, other.as_bytes()).await;
    assert_eq!(descriptor["digest"], digest(&other));
    let third = uuid::Uuid::new_v4().simple().to_string();
    let begun = stand
        .request(Method::POST, "blobs/uploads/")
        .send()
        .await
        .unwrap();
    let put = stand.complete(&begun, &digest(&third));
    assert_eq!(put.body(third).send().await.unwrap().status(), 201);
}

pub(crate) async fn a_chunk_out_of_order_is_refused_and_the_upload_goes_on() {
    let stand = Stand::open().await;
    let begun = stand
        .request(Method::POST, "blobs/uploads/")
        .send()
        .await
        .unwrap();
    let early = stand
        .go_on(Method::PATCH, &begun)
        .header("content-range", "5-8");
    let early = early.body("late").send().await.unwrap();
    assert_eq!(early.status(), 416);
    assert_eq!(refused(early).await.1, "BLOB_UPLOAD_INVALID");
    let right = stand
        .go_on(Method::PATCH, &begun)
        .header("content-range", "0-3");
    let right = right.body("well").send().await.unwrap();
    assert_eq!(header(&right, "range"), "0-3");
    let gone = stand.go_on(Method::DELETE, &right).send().await.unwrap();
    assert_eq!(gone.status(), 204);
    let after = stand.go_on(Method::GET, &begun).send().await.unwrap();
    assert_eq!(refused(after).await.1, "BLOB_UPLOAD_UNKNOWN");
}

pub(crate) async fn a_broken_upload_leaves_nothing() {
    let stand = Stand::open().await;
    let claimed = digest("what was meant");
    let begun = stand
        .request(Method::POST, "blobs/uploads/")
        .send()
        .await
        .unwrap();
    let put = stand.complete(&begun, &claimed);
    let put = put.body("what was sent").send().await.unwrap();
    let (status, code, message) = refused(put).await;
    assert_eq!((status, code.as_str()), (400, "DIGEST_INVALID"));
    assert!(message.contains(&digest("what was sent")), "{message}");

    // A client that goes away in the middle.
    let begun = stand
        .request(Method::POST, "blobs/uploads/")
        .send()
        .await
        .unwrap();
    let mut client = stand.raw_request("PATCH", &begun, 100, b"what was ").await;
    let is_part = |name: &String| stand.stored_text("uploads", name) == "what was ";
    let part = eventually("a part has come", async || {
        stand.stored("uploads").into_iter().find(is_part)
    })
    .await;
    client.shutdown().await.unwrap();
    drop(client);
    eventually("no part is left", async || {
        (!stand.stored("uploads").contains(&part)).then_some(())
    })
    .await;
    let told = stand.go_on(Method::GET, &begun).send().await.unwrap();
    assert_eq!(refused(told).await.1, "BLOB_UPLOAD_UNKNOWN");

    for sent in ["what was meant", "what was sent", "what was "] {
        let path = format!("blobs/{}", digest(sent));
        let head = stand.request(Method::HEAD, &path).send().await.unwrap();
        assert_eq!(head.status(), 404, "{sent}");
        let hex = digest(sent)[7..].to_owned();
        assert!(!stand.stored("blobs").contains(&hex), "{sent}");
    }
}

/// <https://docs.aws.amazon.com/AmazonECR/latest/userguide/blob-mounting.html>
pub(crate) async fn a_blob_is_mounted_from_another_repository() {
    let from = Stand::open().await;
    let to = Stand::open().await;
    let blob = from.upload(BYTES, from.repository.as_bytes()).await;
    let named = blob["digest"].as_str().unwrap();
    let mount = async |digest: &str, from: &str| {
        let path = format!("blobs/uploads/?mount={digest}&from={from}");
        to.request(Method::POST, &path).send().await.unwrap()
    };
    let mounted = mount(named, &from.repository).await;
    assert_eq!(mounted.status(), 201);
    let read = to.go_on(Method::GET, &mounted).send().await.unwrap();
    assert_eq!(read.text().await.unwrap(), from.repository);
    // What is not there has to be uploaded.
    for (digest, from) in [
        (&digest("nobody has it"), &from.repository),
        (&named.to_owned(), &"nowhere".to_owned()),
    ] {
        let begun = mount(digest, from).await;
        assert_eq!(begun.status(), 202);
        assert!(header(&begun, "location").contains("/blobs/uploads/"));
        to.go_on(Method::DELETE, &begun).send().await.unwrap();
    }
}

pub(crate) async fn a_manifest_is_taken_when_all_it_refers_to_is_there() {
    let stand = Stand::open().await;
    let missing = digest("nobody has it");
    let layer = json!({"mediaType": BYTES, "digest": missing, "size": 1});
    let manifest = stand.manifest("whole").await;
    let mut lacking: Value = serde_json::from_str(&manifest).unwrap();
    lacking["layers"] = json!([layer]);
    let answer = stand.put_manifest("v1", &lacking.to_string()).await;
    let (status, code, message) = refused(answer).await;
    assert_eq!((status, code.as_str()), (400, "MANIFEST_BLOB_UNKNOWN"));
    assert!(message.contains(&missing), "{message}");

    // The index before its image, and then after it.
    let named = digest(&manifest);
    let image = json!({"mediaType": MANIFEST, "digest": named, "size": manifest.len()});
    let index = json!({"schemaVersion": 2, "mediaType": INDEX, "manifests": [image]}).to_string();
    let answer = stand.put_manifest("v1", &index).await;
    assert_eq!(refused(answer).await.1, "MANIFEST_BLOB_UNKNOWN");
    let wrong = stand.put_manifest(&missing, &manifest).await;
    assert_eq!(refused(wrong).await.1, "DIGEST_INVALID");
    let nonsense = stand.put_manifest("v1", "nonsense").await;
    assert_eq!(refused(nonsense).await.1, "MANIFEST_INVALID");
    let none = stand
        .request(Method::GET, "manifests/v1")
        .send()
        .await
        .unwrap();
    assert_eq!(refused(none).await.1, "MANIFEST_UNKNOWN");

    for (reference, text) in [(named.as_str(), &manifest), ("v1", &index)] {
        let taken = stand.put_manifest(reference, text).await;
        assert_eq!(taken.status(), 201);
        assert_eq!(header(&taken, "docker-content-digest"), digest(text));
        // Once more changes nothing.
        assert_eq!(stand.put_manifest(reference, text).await.status(), 201);
    }
    let index_digest = digest(&index);
    for reference in ["v1", &index_digest] {
        let path = format!("manifests/{reference}");
        let read = stand.request(Method::GET, &path).send().await.unwrap();
        assert_eq!(header(&read, "content-type"), INDEX);
        assert_eq!(header(&read, "docker-content-digest"), index_digest);
        let head = stand.request(Method::HEAD, &path).send().await.unwrap();
        assert_eq!(header(&head, "content-length"), index.len().to_string());
        assert_eq!(read.text().await.unwrap(), index);
    }
}

/// <https://docs.aws.amazon.com/AmazonECR/latest/userguide/ecr-eventbridge.html>
pub(crate) async fn a_push_is_an_event_once() {
    let stand = Stand::open().await;
    let name = stand.repository.replace('/', "-");
    let policy = json!({
        "Version": "2012-10-17",
        "Statement": [{
            "Effect": "Allow",
            "Principal": {"Service": "events.amazonaws.com"},
            "Action": "sqs:SendMessage",
            "Resource": "*",
        }],
    });
    let sqs = aws_sdk_sqs::Client::new(&stand.aws.sdk_config());
    let create = sqs.create_queue().queue_name(&name);
    let create = create.attributes(QueueAttributeName::Policy, policy.to_string());
    let url = create.send().await.unwrap().queue_url.unwrap();
    let detail = json!({"repository-name": [stand.repository]});
    let pattern = json!({"source": ["aws.ecr"], "detail": detail}).to_string();
    stand
        .cli(&format!(
            "events put-rule --name {name} --event-pattern {pattern}"
        ))
        .await;
    let target = format!("Id=queue,Arn=arn:aws:sqs:us-east-1:123456789012:{name}");
    stand
        .cli(&format!(
            "events put-targets --rule {name} --targets {target}"
        ))
        .await;

    let manifest = stand.manifest("an event").await;
    for _ in 0..2 {
        assert_eq!(stand.put_manifest("v1", &manifest).await.status(), 201);
    }
    let second = stand.manifest("another event").await;
    assert_eq!(stand.put_manifest("v2", &second).await.status(), 201);
    let mut told = Vec::new();
    eventually("two events", async || {
        let receive = sqs.receive_message().queue_url(&url);
        let received = receive.max_number_of_messages(10).send().await.unwrap();
        for message in received.messages() {
            let event: Value = serde_json::from_str(message.body().unwrap()).unwrap();
            assert_eq!(event["detail-type"], "ECR Image Action");
            let detail = &event["detail"];
            assert_eq!(detail["action-type"], "PUSH");
            assert_eq!(detail["manifest-media-type"], MANIFEST);
            told.push((detail["image-tag"].clone(), detail["image-digest"].clone()));
        }
        (told.len() >= 2).then_some(())
    })
    .await;
    let expected = [("v1", manifest), ("v2", second)];
    let expected = expected.map(|(tag, text)| (json!(tag), json!(digest(text))));
    assert_eq!(told, expected);
}

/// The words are ECR's (moby/buildkit#3776, osscontainertools/kaniko#204).
pub(crate) async fn an_immutable_tag_is_refused() {
    let mut stand = Stand::open().await;
    stand.repository.push_str("-immutable");
    stand
        .create_repository(&stand.repository, "IMMUTABLE")
        .await;
    let (first, second) = (
        stand.manifest("first").await,
        stand.manifest("second").await,
    );
    assert_eq!(stand.put_manifest("v1", &first).await.status(), 201);
    let answer = stand.put_manifest("v1", &second).await;
    let (status, code, message) = refused(answer).await;
    assert_eq!((status, code.as_str()), (400, "TAG_INVALID"));
    let words = format!(
        "The image tag 'v1' already exists in the '{}' repository and cannot be overwritten because the tag is immutable.",
        stand.repository
    );
    assert_eq!(message, words);
    let read = stand
        .request(Method::GET, "manifests/v1")
        .send()
        .await
        .unwrap();
    assert_eq!(read.text().await.unwrap(), first);
    assert_eq!(stand.put_manifest("v2", &second).await.status(), 201);
}

pub(crate) async fn tags_are_listed_in_pages() {
    let stand = Stand::open().await;
    let manifest = stand.manifest("tagged").await;
    for tag in ["v2", "v1", "v3"] {
        assert_eq!(stand.put_manifest(tag, &manifest).await.status(), 201);
    }
    let untagged = stand.manifest("untagged").await;
    stand.put_manifest(&digest(&untagged), &untagged).await;
    let list = async |query: &str| {
        let path = format!("tags/list{query}");
        let answer = stand.request(Method::GET, &path).send().await.unwrap();
        let next = header(&answer, "link");
        let body: Value = answer.json().await.unwrap();
        assert_eq!(body["name"], stand.repository);
        (body["tags"].clone(), next)
    };
    assert_eq!(list("").await, (json!(["v1", "v2", "v3"]), String::new()));
    let (tags, next) = list("?n=2").await;
    assert_eq!(tags, json!(["v1", "v2"]));
    let expected = format!(
        "</v2/{}/tags/list?n=2&last=v2>; rel=\"next\"",
        stand.repository
    );
    assert_eq!(next, expected);
    assert_eq!(list("?n=2&last=v2").await, (json!(["v3"]), String::new()));
}
