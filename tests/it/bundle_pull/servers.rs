//! Servers that cut, stall, refuse, or send something else.

use super::*;

#[tokio::test]
async fn a_wrong_checksum_names_address_expected_and_got() {
    let world = World::new().await;
    world.server.file(&format!("{KUBERNETES}/kubelet"), "evil");
    let text = world.complaint().await;
    let expected = sha256(&program("kubelet"));
    for part in [&format!("{}{KUBERNETES}/kubelet", world.server.url), &expected, &sha256(b"evil")]
    {
        assert!(text.contains(part), "{part} is not in: {text}");
    }
    assert!(!world.part_of(&program("kubelet")).exists());
    assert!(!world.cache().join("downloads").join(expected).exists());
    assert!(!world.folder().join("bundle.lock").exists());
}

#[tokio::test]
async fn a_cut_download_goes_on_where_it_ended() {
    let world = World::new().await;
    let path = format!("{KUBERNETES}/kubelet");
    world.server.handle(&path, |request, before| {
        let whole = Reply::file(request, &program("kubelet"));
        if before == 0 { Reply { cut_after: Some(5000), ..whole } } else { whole }
    });
    world.pull().await.expect("the pull");
    assert_eq!(world.gets(&path), [None, Some(5000)]);
}

#[tokio::test]
async fn a_server_that_ignores_range_starts_over() {
    let world = World::new().await;
    let path = format!("{KUBERNETES}/kubelet");
    world.server.handle(&path, |_, before| {
        let whole = Reply::ok(&program("kubelet"));
        if before == 0 { Reply { cut_after: Some(5000), ..whole } } else { whole }
    });
    world.pull().await.expect("the pull");
    assert_eq!(world.gets(&path), [None, Some(5000)]);
    assert_eq!(
        fs::read(world.folder().join("bin/kubelet")).expect("the program"),
        program("kubelet")
    );
}

#[tokio::test]
async fn a_server_that_always_cuts_is_given_up() {
    let world = World::new().await;
    let path = format!("{KUBERNETES}/kubelet");
    world
        .server
        .handle(&path, |_, _| Reply { cut_after: Some(5000), ..Reply::ok(&program("kubelet")) });
    let text = world.complaint().await;
    assert!(
        text.contains("kubelet") && text.contains("broke") && text.contains("the download resumes"),
        "{text}"
    );
}

#[tokio::test]
async fn a_killed_pull_is_taken_up_by_the_next() {
    let world = World::new().await;
    let path = format!("{KUBERNETES}/kubelet");
    world.server.handle(&path, |request, before| {
        let whole = Reply::file(request, &program("kubelet"));
        if before == 0 { Reply { cut_after: Some(7000), stall: true, ..whole } } else { whole }
    });
    let mut patient = world.sources.clone();
    patient.patience.stall = Duration::from_secs(60);
    let (folder, cache, events) = (world.folder(), world.cache(), world.events.clone());
    let pulling =
        tokio::spawn(
            async move { pull(version(), "amd64", &folder, &cache, &patient, &events).await },
        );
    let part = world.part_of(&program("kubelet"));
    let arrived = async {
        while fs::metadata(&part).map_or(0, |found| found.len()) < 7000 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(20), arrived).await.expect("the first bytes");
    pulling.abort();
    assert!(pulling.await.expect_err("the pull").is_cancelled());
    assert!(!world.folder().join("bundle.lock").exists());
    world.pull().await.expect("the second pull");
    assert_eq!(world.gets(&path), [None, Some(7000)]);
}

#[tokio::test]
async fn an_old_part_of_another_file_is_thrown_away() {
    let world = World::new().await;
    let part = world.part_of(&program("kubelet"));
    fs::create_dir_all(part.parent().expect("a folder")).expect("the cache");
    fs::write(&part, "something else").expect("the part");
    world.pull().await.expect("the pull");
    assert_eq!(world.gets(&format!("{KUBERNETES}/kubelet")), [Some(14), None]);
}

#[tokio::test]
async fn a_missing_release_is_an_error_that_says_so() {
    let world = World::new().await;
    world.server.remove(&format!("{KUBERNETES}/kubectl"));
    let text = world.complaint().await;
    assert!(
        text.contains(&format!("{KUBERNETES}/kubectl: the server does not have this file (404")),
        "{text}"
    );
    assert_eq!(world.gets(&format!("{KUBERNETES}/kubectl")).len(), 1, "a 404 is not tried again");
    world.server.remove(&format!("{KUBERNETES}/kubelet.sha256"));
    let text = world.complaint().await;
    assert!(text.contains("kubelet.sha256: the server does not have this file"), "{text}");
}

#[tokio::test]
async fn a_stalled_server_is_given_up() {
    let world = World::new().await;
    let path = format!("{KUBERNETES}/kubelet");
    world.server.handle(&format!("{RUNC}/runc.sha256sum"), |_, before| {
        if before == 0 {
            Reply { cut_after: Some(0), stall: true, ..Reply::ok(b"x") }
        } else {
            Reply::ok(format!("{}  runc.amd64\n", sha256(&program("runc"))).as_bytes())
        }
    });
    // Whoever stalls at the same byte every time brings nothing new.
    world.server.handle(&path, |_, _| Reply {
        cut_after: Some(100),
        stall: true,
        ..Reply::ok(&program("kubelet"))
    });
    let text = world.complaint().await;
    assert!(text.contains("kubelet: the server stalled"), "{text}");
}

#[tokio::test]
async fn a_server_that_is_busy_is_asked_again() {
    let world = World::new().await;
    for path in [format!("{KUBERNETES}/kubelet"), format!("{KUBERNETES}/kubelet.sha256")] {
        let body = if path.ends_with("256") {
            sha256(&program("kubelet")).into()
        } else {
            program("kubelet")
        };
        world.server.handle(&path, move |request, before| match before {
            0 => Reply::status(503).header("Retry-After", "0"),
            1 if request.path.ends_with("kubelet") => Reply::status(503),
            _ => Reply::file(request, &body),
        });
    }
    world.pull().await.expect("the pull");
}

#[tokio::test]
async fn a_mirrors_error_page_is_no_checksum() {
    let world = World::new().await;
    world.server.file(&format!("{ETCD}/SHA256SUMS"), "<html>please log in</html>");
    let text = world.complaint().await;
    assert!(
        text.contains("SHA256SUMS: there is no SHA-256 of etcd-v3.6.6-linux-amd64.tar.gz"),
        "{text}"
    );
}

#[tokio::test]
async fn an_archive_without_a_program_is_an_error() {
    let world = World::new().await;
    serve_etcd(&world.server, &["etcd", "etcdctl"]);
    let text = world.complaint().await;
    assert!(text.contains("has no `etcd-v3.6.6-linux-amd64/etcdutl`"), "{text}");
}

#[tokio::test]
async fn a_registry_that_wants_tokens_gives_them_to_anybody() {
    let world = World::new().await;
    world.server.handle("/token", |request, _| {
        assert!(request.path.contains("service=registry.test"), "{}", request.path);
        Reply::ok(br#"{"token":"for-anybody"}"#)
    });
    serve_image(&world.server, "pause", "3.10.1", Some("for-anybody"));
    let bundle = world.pull().await.expect("the pull");
    bundle.file("image/pause").expect("pause");
    let requests = world.server.take_requests();
    let tokens = requests.iter().filter(|r| r.path.starts_with("/token")).count();
    assert!((1..=2).contains(&tokens), "{tokens} tokens for one repository");
    let kubelet = requests.iter().find(|r| r.path.ends_with("/kubelet")).expect("a request");
    assert!(
        !kubelet.headers.contains_key("authorization"),
        "a token went where it does not belong"
    );
}

#[tokio::test]
async fn a_registry_that_wants_a_login_is_an_error() {
    let world = World::new().await;
    world.server.handle("/token", |_, _| Reply::status(403));
    serve_image(&world.server, "pause", "3.10.1", Some("secret"));
    let text = world.complaint().await;
    assert!(text.contains("/token: the server refuses it (403"), "{text}");
}

#[tokio::test]
async fn a_layer_with_another_digest_is_refused() {
    let world = World::new().await;
    let sum = sha256(&layer_of("pause"));
    let path = format!("/v2/pause/blobs/sha256:{sum}");
    let length = layer_of("pause").len();
    world.server.file(&path, "x".repeat(length));
    let text = world.complaint().await;
    assert!(
        text.contains(&path) && text.contains(&sha256("x".repeat(length).as_bytes())),
        "{text}"
    );
    assert!(!world.folder().join("images/pause.tar").exists());
}

#[tokio::test]
async fn a_manifest_with_another_digest_is_refused() {
    let world = World::new().await;
    world.server.handle("/v2/pause/manifests/3.10.1", |_, _| {
        let other = sha256(b"announced");
        let entry = format!(
            r#"{{"mediaType":"{MANIFEST}","digest":"sha256:{other}","size":1,
            "platform":{{"architecture":"amd64","os":"linux"}}}}"#
        );
        Reply::ok(format!(r#"{{"manifests":[{entry}]}}"#).as_bytes())
    });
    world.server.file(&format!("/v2/pause/manifests/sha256:{}", sha256(b"announced")), "{}");
    let text = world.complaint().await;
    assert!(text.contains(&sha256(b"{}")) && text.contains(&sha256(b"announced")), "{text}");
}
