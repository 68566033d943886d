//! `tags/list` and `referrers`: paged and filtered by us, kept like tags, served stale and offline.

use super::{assert_gives_stale, assert_tells_why};
use crate::rig::content::{INDEX, MANIFEST};
use crate::rig::{Answer, Fault, FaultyUpstream, Image, Kind, Larder, Setup, digest_of, get, outlive};
use bytes::Bytes;
use serde_json::{Value, json};
use std::time::Duration;

const SECOND: Duration = Duration::from_secs(1);

async fn started(upstream: &FaultyUpstream) -> (Setup, Larder) {
    let setup = Setup::with(upstream).cache("tag_ttl = \"1s\"").cache("missing_ttl = \"1s\"");
    let larder = setup.start().await;
    (setup, larder)
}

fn parsed(answer: &Answer) -> Value {
    assert_eq!(answer.status, 200, "{}", answer.summary());
    serde_json::from_slice(&answer.body).unwrap_or_else(|_| panic!("{}", answer.summary()))
}

fn tags(answer: &Answer) -> Vec<String> {
    let list = parsed(answer);
    list["tags"].as_array().unwrap().iter().map(|tag| tag.as_str().unwrap().to_owned()).collect()
}

/// Follows `Link` to the end. The number is how many pages there were.
async fn pages(larder: &Larder, first: &str) -> (Vec<String>, usize) {
    let (mut all, mut count, mut next) = (Vec::new(), 0, Some(first.to_owned()));
    while let Some(path) = next {
        let answer = get(&path).fetch(larder.address).await;
        all.extend(tags(&answer));
        count += 1;
        next = answer.header("link").map(|link| {
            let (target, parameters) = link.strip_prefix('<').unwrap().split_once('>').unwrap();
            assert!(parameters.contains("rel=\"next\""), "{link}");
            assert!(target.starts_with('/'), "a page somewhere else: {link}");
            target.to_owned()
        });
        assert!(count < 100, "pages without end");
    }
    (all, count)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tags_are_listed_whole_and_in_pages_by_every_way_in() {
    let upstream = FaultyUpstream::start().await;
    let image = Image::new(1, &[]);
    let expected: Vec<String> = (0..25).map(|n| format!("v{n:02}")).collect();
    expected.iter().for_each(|tag| upstream.push("org/app", tag, &image));
    upstream.hold(|repositories| repositories.tags_page = Some(10));
    let (_setup, larder) = started(&upstream).await;

    let answer = get("/v2/org/app/tags/list").fetch(larder.address).await;
    assert_eq!(parsed(&answer)["name"], json!("org/app"));
    assert_eq!(tags(&answer), expected);
    assert_eq!(answer.header("link"), None);
    for (path, count) in [
        ("/v2/org/app/tags/list?n=10", 3),
        ("/v2/org/app/tags/list?n=7&ns=reg.test", 4),
        ("/v2/reg.test/org/app/tags/list?n=7", 4),
        ("/v2/org/app/tags/list?n=25", 1),
    ] {
        let (all, pages) = pages(&larder, path).await;
        assert_eq!((all, pages), (expected.clone(), count), "{path}");
    }
    let answer = get("/v2/org/app/tags/list?n=3&last=v10").fetch(larder.address).await;
    assert_eq!(tags(&answer), ["v11", "v12", "v13"]);
    let answer = get("/v2/org/app/tags/list?last=v23").fetch(larder.address).await;
    assert_eq!(tags(&answer), ["v24"]);
    let answer = get("/v2/org/app/tags/list?last=v10x").fetch(larder.address).await;
    assert_eq!(tags(&answer)[0], "v11");
    // distribution-spec: with n=0 the list is empty and there is no Link.
    let answer = get("/v2/org/app/tags/list?n=0").fetch(larder.address).await;
    assert_eq!((tags(&answer).len(), answer.header("link")), (0, None));
    for n in ["-1", "x", "99999999999999999999"] {
        let answer = get(format!("/v2/org/app/tags/list?n={n}")).fetch(larder.address).await;
        assert!(matches!(answer.status, 200 | 400), "{n}: {}", answer.summary());
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_list_is_kept_for_its_lifetime_and_served_stale_and_offline() {
    let upstream = FaultyUpstream::start().await;
    upstream.push("app", "1", &Image::new(2, &[]));
    let (setup, larder) = started(&upstream).await;
    let path = "/v2/app/tags/list";
    assert_eq!(tags(&get(path).fetch(larder.address).await), ["1"]);
    outlive(SECOND).await;
    upstream.push("app", "2", &Image::new(3, &[]));
    upstream.forget();
    assert_eq!(tags(&get(path).fetch(larder.address).await), ["1", "2"]);
    for _ in 0..5 {
        get("/v2/app/tags/list?n=1").fetch(larder.address).await;
    }
    assert!(upstream.count(Kind::Tags) <= 2, "{} requests", upstream.count(Kind::Tags));
    outlive(SECOND).await;
    upstream.fault(Fault::on(Kind::Tags).status(500));
    let answer = get(path).fetch(larder.address).await;
    assert_eq!(tags(&answer), ["1", "2"]);
    assert!(answer.header("warning").is_some(), "{}", answer.summary());
    assert!(larder.stop().await.success());

    let setup = setup.cache("offline = true");
    let larder = setup.start().await;
    assert_eq!(tags(&get(path).fetch(larder.address).await), ["1", "2"]);
    assert_eq!(pages(&larder, "/v2/app/tags/list?n=1").await, (vec!["1".to_owned(), "2".to_owned()], 2));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_upstream_said_of_a_list_is_remembered_as_for_tags() {
    let upstream = FaultyUpstream::start().await;
    let image = Image::new(7, &[]);
    upstream.push("app", "1", &image);
    let setup = Setup::with(&upstream).cache("tag_ttl = \"1s\"").cache("missing_ttl = \"60s\"");
    let larder = setup.start().await;
    let (list, referrers) = ("/v2/app/tags/list", format!("/v2/app/referrers/{}", image.digest));
    for path in [list, &referrers] {
        assert_eq!(get(path).fetch(larder.address).await.status, 200);
    }
    outlive(SECOND).await;
    upstream.fault(Fault::anywhere().of("/app/").status(500));
    upstream.forget();
    for path in [list, &referrers] {
        for _ in 0..20 {
            let answer = get(path).fetch(larder.address).await;
            assert_eq!(answer.status, 200, "{}", answer.summary());
            assert!(answer.header("warning").is_some(), "{}", answer.summary());
        }
    }
    for kind in [Kind::Tags, Kind::Referrers] {
        assert!(upstream.count(kind) <= 4, "{} requests of {kind:?} for 20 asks in an outage", upstream.count(kind));
    }
    for _ in 0..20 {
        assert_eq!(get("/v2/nowhere/tags/list").fetch(larder.address).await.status, 404);
    }
    let asked = upstream.count_of(Kind::Tags, "nowhere");
    assert!(asked <= 2, "{asked} requests for a missing list");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_list_of_nothing_and_of_nobody() {
    let upstream = FaultyUpstream::start().await;
    upstream.push_blob("empty", &Bytes::from_static(b"x"));
    let (_setup, larder) = started(&upstream).await;
    assert_eq!(tags(&get("/v2/empty/tags/list").fetch(larder.address).await).len(), 0);
    let answer = get("/v2/nowhere/tags/list").fetch(larder.address).await;
    assert_eq!((answer.status, answer.error().0.as_str()), (404, "NAME_UNKNOWN"), "{}", answer.summary());
    assert_tells_why(&answer);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_list_that_upstream_never_ends_is_bounded() {
    let upstream = FaultyUpstream::start().await;
    upstream.push("app", "1", &Image::new(4, &[]));
    upstream.fault(Fault::on(Kind::Tags).header("Link", "</v2/app/tags/list?last=0>; rel=\"next\""));
    let (_setup, larder) = started(&upstream).await;
    let answer = get("/v2/app/tags/list").fetch(larder.address).await;
    assert!(answer.status == 200 || answer.status >= 500, "{}", answer.summary());
    assert!(upstream.count(Kind::Tags) <= 1_000, "{} pages were fetched", upstream.count(Kind::Tags));
}

/// A subject with a signature and two SBOMs, under the names upstream has for them.
struct Subject {
    image: Image,
    signature: Image,
    sboms: [Image; 2],
}

const SIGNATURE: &str = "application/vnd.example.signature.v1";
const SBOM: &str = "application/vnd.example.sbom+json";

impl Subject {
    fn push(upstream: &FaultyUpstream, repository: &str) -> Self {
        let image = Image::new(5, &[10]);
        let signature = Image::referrer(&image.descriptor(), SIGNATURE);
        let sboms = [Image::referrer(&image.descriptor(), SBOM), {
            let mut subject = image.descriptor();
            subject["annotations"] = json!({ "n": "2" });
            Image::referrer(&subject, SBOM)
        }];
        upstream.push(repository, "1", &image);
        let subject = Self { image, signature, sboms };
        upstream.hold(|repositories| {
            for descriptor in subject.descriptors() {
                repositories.referrer(repository, &subject.image.digest, descriptor);
            }
            for referrer in [&subject.signature, &subject.sboms[0], &subject.sboms[1]] {
                repositories.blob(repository, &referrer.config);
                repositories.manifest(repository, MANIFEST, &referrer.manifest);
            }
        });
        subject
    }

    fn descriptors(&self) -> Vec<Value> {
        let typed = |image: &Image, artifact_type: &str| {
            let mut descriptor = image.descriptor();
            descriptor["artifactType"] = json!(artifact_type);
            descriptor
        };
        vec![typed(&self.signature, SIGNATURE), typed(&self.sboms[0], SBOM), typed(&self.sboms[1], SBOM)]
    }
}

fn digests(answer: &Answer) -> Vec<String> {
    let index = parsed(answer);
    assert_eq!(answer.header("content-type"), Some(INDEX), "{}", answer.summary());
    assert_eq!((&index["schemaVersion"], &index["mediaType"]), (&json!(2), &json!(INDEX)), "{}", answer.summary());
    let mut digests: Vec<String> =
        index["manifests"].as_array().unwrap().iter().map(|m| m["digest"].as_str().unwrap().to_owned()).collect();
    digests.sort();
    digests
}

fn sorted<const N: usize>(images: [&Image; N]) -> Vec<String> {
    let mut digests: Vec<String> = images.iter().map(|image| image.digest.clone()).collect();
    digests.sort();
    digests
}

async fn assert_referrers(larder: &Larder, subject: &Subject) {
    let path = format!("/v2/app/referrers/{}", subject.image.digest);
    let all = get(&path).fetch(larder.address).await;
    assert_eq!(digests(&all), sorted([&subject.signature, &subject.sboms[0], &subject.sboms[1]]));
    for (artifact_type, expected) in [
        (SBOM, sorted([&subject.sboms[0], &subject.sboms[1]])),
        (SIGNATURE, sorted([&subject.signature])),
        ("application/vnd.example.none", Vec::new()),
    ] {
        let filter = artifact_type.replace('+', "%2B");
        let answer = get(format!("{path}?artifactType={filter}")).fetch(larder.address).await;
        assert_eq!(digests(&answer), expected, "{artifact_type}");
        assert_eq!(answer.header("oci-filters-applied"), Some("artifactType"), "{}", answer.summary());
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn referrers_come_from_the_api_of_upstream_and_are_kept() {
    let upstream = FaultyUpstream::start().await;
    let subject = Subject::push(&upstream, "app");
    let (setup, larder) = started(&upstream).await;
    assert_referrers(&larder, &subject).await;
    let signature = format!("/v2/app/manifests/{}", subject.signature.digest);
    super::assert_gives(&get(signature).fetch(larder.address).await, &subject.signature.manifest);
    outlive(SECOND).await;
    upstream.stop();
    assert_referrers(&larder, &subject).await;
    let path = format!("/v2/app/referrers/{}", subject.image.digest);
    let answer = get(&path).fetch(larder.address).await;
    assert_gives_stale(&answer, &answer.body);
    assert!(larder.stop().await.success());
    let setup = setup.cache("offline = true");
    let larder = setup.start().await;
    assert_referrers(&larder, &subject).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn referrers_come_from_the_tag_schema_where_upstream_has_no_api() {
    let upstream = FaultyUpstream::start().await;
    let subject = Subject::push(&upstream, "app");
    let index = json!({ "schemaVersion": 2, "mediaType": INDEX, "manifests": subject.descriptors() });
    let index = Bytes::from(index.to_string());
    upstream.hold(|repositories| {
        repositories.without_referrers = true;
        repositories.manifest("app", INDEX, &index);
        repositories.tag("app", &subject.image.digest.replace(':', "-"), &digest_of(&index));
    });
    let (_setup, larder) = started(&upstream).await;
    assert_referrers(&larder, &subject).await;
    outlive(SECOND).await;
    upstream.stop();
    assert_referrers(&larder, &subject).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_referrers_the_list_is_empty_and_not_missing() {
    let upstream = FaultyUpstream::start().await;
    let image = Image::new(6, &[10]);
    upstream.push("app", "1", &image);
    let (_setup, larder) = started(&upstream).await;
    for without_referrers in [false, true] {
        upstream.hold(|repositories| repositories.without_referrers = without_referrers);
        let digest = if without_referrers { digest_of(b"another") } else { image.digest.clone() };
        let answer = get(format!("/v2/app/referrers/{digest}")).fetch(larder.address).await;
        assert_eq!(digests(&answer), Vec::<String>::new());
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_dead_upstream_is_not_an_empty_list() {
    let upstream = FaultyUpstream::start().await;
    upstream.fault(Fault::anywhere().status(503));
    let (_setup, larder) = started(&upstream).await;
    for path in [format!("/v2/app/referrers/{}", digest_of(b"x")), "/v2/app/tags/list".to_owned()] {
        let answer = get(path).fetch(larder.address).await;
        assert!(matches!(answer.status, 502..=504), "{}", answer.summary());
        assert_tells_why(&answer);
    }
}
