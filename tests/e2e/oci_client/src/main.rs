//! A small program that uses the crate oci-client, which has no program of its own.
//!
//!     oci-client-test push IMAGE FILE…           a layer for each file, in pieces of 4 MiB
//!     oci-client-test push-whole IMAGE FILE…     each layer in one PUT
//!     oci-client-test pull IMAGE FOLDER          writes the layers as 0, 1 …
//!     oci-client-test part IMAGE OFFSET LENGTH   bytes of the first layer, to stdout
//!     oci-client-test mount IMAGE SOURCE DIGEST
//!     oci-client-test refer IMAGE                pushes an image that has this one as its subject
//!     oci-client-test referrers IMAGE            the media types of its referrers
//!     oci-client-test tags IMAGE
//!
//! IMAGE is HOST/REPOSITORY:TAG. It speaks plain HTTP, with REGISTRY_USER and REGISTRY_PASSWORD if set.

use std::env;
use std::error::Error;
use std::fs;
use std::io::{self, Write};
use std::path::Path;

use oci_client::client::{BlobResponse, Client, ClientConfig, ClientProtocol, Config, ImageLayer};
use oci_client::manifest::{
    IMAGE_LAYER_MEDIA_TYPE, OCI_IMAGE_MEDIA_TYPE, OciDescriptor, OciImageManifest, OciManifest,
};
use oci_client::secrets::RegistryAuth;
use oci_client::{Reference, RegistryOperation};
use tokio_stream::StreamExt;

type Outcome = Result<(), Box<dyn Error>>;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Outcome {
    rustls::crypto::ring::default_provider()
        .install_default()
        .expect("the first one");
    let words: Vec<String> = env::args().skip(1).collect();
    let (command, image) = (words[0].as_str(), words[1].parse::<Reference>()?);
    let rest = &words[2..];
    let client = Client::new(ClientConfig {
        protocol: ClientProtocol::Http,
        use_monolithic_push: command == "push-whole",
        ..Default::default()
    });
    match command {
        "push" | "push-whole" => push(&client, &image, rest).await,
        "pull" => pull(&client, &image, Path::new(&rest[0])).await,
        "part" => part(&client, &image, rest[0].parse()?, rest[1].parse()?).await,
        "mount" => mount(&client, &image, &rest[0].parse()?, &rest[1]).await,
        "refer" => refer(&client, &image).await,
        "referrers" => referrers(&client, &image).await,
        "tags" => tags(&client, &image).await,
        _ => Err(format!("no command is called {command}").into()),
    }
}

fn account() -> RegistryAuth {
    match (env::var("REGISTRY_USER"), env::var("REGISTRY_PASSWORD")) {
        (Ok(user), Ok(password)) => RegistryAuth::Basic(user, password),
        _ => RegistryAuth::Anonymous,
    }
}

async fn push(client: &Client, image: &Reference, files: &[String]) -> Outcome {
    let mut layers = Vec::new();
    for file in files {
        layers.push(ImageLayer::oci_v1(fs::read(file)?, None));
    }
    let config = Config::oci_v1(r#"{"architecture":"amd64","os":"linux"}"#, None);
    let pushed = client
        .push(image, &layers, config, &account(), None)
        .await?;
    println!("{}", pushed.manifest_url);
    Ok(())
}

async fn pull(client: &Client, image: &Reference, folder: &Path) -> Outcome {
    let (manifest, digest) = client.pull_image_manifest(image, &account()).await?;
    // Pull layers one by one, because `Client::pull` returns them in the order of their arrival.
    for (number, layer) in manifest.layers.iter().enumerate() {
        let mut content = Vec::new();
        client.pull_blob(image, layer, &mut content).await?;
        fs::write(folder.join(number.to_string()), content)?;
    }
    let pulled = client
        .pull(image, &account(), vec![IMAGE_LAYER_MEDIA_TYPE])
        .await?;
    assert_eq!(pulled.layers.len(), manifest.layers.len());
    println!("{digest}");
    Ok(())
}

async fn part(client: &Client, image: &Reference, offset: u64, length: u64) -> Outcome {
    let (manifest, _) = client.pull_image_manifest(image, &account()).await?;
    let layer = &manifest.layers[0];
    let answer = client
        .pull_blob_stream_partial(image, layer, offset, Some(length))
        .await?;
    let BlobResponse::Partial(mut part) = answer else {
        return Err("the whole layer came".into());
    };
    while let Some(piece) = part.stream.next().await {
        io::stdout().write_all(&piece?)?;
    }
    Ok(())
}

async fn mount(client: &Client, image: &Reference, source: &Reference, digest: &str) -> Outcome {
    client
        .auth(image, &account(), RegistryOperation::Push)
        .await?;
    Ok(client.mount_blob(image, source, digest).await?)
}

async fn refer(client: &Client, image: &Reference) -> Outcome {
    let (subject, digest) = client.pull_image_manifest(image, &account()).await?;
    let (raw, _) = client
        .pull_manifest_raw(image, &account(), &[OCI_IMAGE_MEDIA_TYPE])
        .await?;
    let manifest = OciImageManifest {
        artifact_type: Some("application/vnd.test".to_string()),
        subject: Some(OciDescriptor {
            media_type: OCI_IMAGE_MEDIA_TYPE.to_string(),
            digest,
            size: raw.len() as i64,
            ..Default::default()
        }),
        ..subject
    };
    let target = Reference::with_tag(
        image.registry().to_string(),
        image.repository().to_string(),
        "refers".to_string(),
    );
    client
        .auth(&target, &account(), RegistryOperation::Push)
        .await?;
    client
        .push_manifest(&target, &OciManifest::Image(manifest))
        .await?;
    Ok(())
}

async fn referrers(client: &Client, image: &Reference) -> Outcome {
    let digest = client.fetch_manifest_digest(image, &account()).await?;
    let subject = image.clone_with_digest(digest);
    for entry in client.pull_referrers(&subject, None).await?.manifests {
        println!("{}", entry.artifact_type.unwrap_or_default());
    }
    Ok(())
}

async fn tags(client: &Client, image: &Reference) -> Outcome {
    for tag in client.list_tags(image, &account(), None, None).await?.tags {
        println!("{tag}");
    }
    Ok(())
}
