//! What an executor says of itself.

use ballista_core::BALLISTA_PROTOCOL_VERSION;
use ballista_core::serde::protobuf::executor_resource::Resource;
use ballista_core::serde::protobuf::{
    ExecutorOperatingSystemSpecification, ExecutorRegistration, ExecutorResource, ExecutorSpecification,
};

/// An executor named `id` on `host`, with room for `slots` tasks. It has no ports: it is never called.
pub(crate) fn registration(id: &str, host: &str, slots: usize) -> ExecutorRegistration {
    let vcores = u32::try_from(slots).unwrap_or(u32::MAX);
    ExecutorRegistration {
        id: id.to_owned(),
        host: Some(host.to_owned()),
        port: 0,
        grpc_port: 0,
        specification: Some(ExecutorSpecification {
            resources: vec![ExecutorResource { resource: Some(Resource::Vcores(vcores)) }],
        }),
        os_info: Some(ExecutorOperatingSystemSpecification::default()),
        ballista_protocol_version: BALLISTA_PROTOCOL_VERSION,
    }
}
