//! The library's types with what we read beyond the standard: Microsoft's claims, and RFC 9207's word in discovery.

use openidconnect::{
    AdditionalClaims, AdditionalProviderMetadata, EmptyAdditionalClaims, EmptyExtraTokenFields, EndpointMaybeSet,
    EndpointNotSet, EndpointSet, IdTokenClaims, IdTokenFields, ProviderMetadata, StandardErrorResponse,
    StandardTokenResponse, UserInfoClaims,
    core::{
        CoreAuthDisplay, CoreAuthPrompt, CoreClaimName, CoreClaimType, CoreClientAuthMethod, CoreErrorResponseType,
        CoreGenderClaim, CoreGrantType, CoreJsonWebKey, CoreJweContentEncryptionAlgorithm,
        CoreJweKeyManagementAlgorithm, CoreJwsSigningAlgorithm, CoreResponseMode, CoreResponseType, CoreRevocableToken,
        CoreRevocationErrorResponse, CoreSubjectIdentifierType, CoreTokenIntrospectionResponse, CoreTokenType,
    },
};
use serde::{Deserialize, Serialize};

/// What a discovery document says beyond the core.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct MoreMetadata {
    #[serde(default)]
    authorization_response_iss_parameter_supported: bool,
}

impl MoreMetadata {
    /// Whether the provider names itself beside each code.
    pub(super) fn names_itself(&self) -> bool {
        self.authorization_response_iss_parameter_supported
    }
}

impl AdditionalProviderMetadata for MoreMetadata {}

/// What an ID token says beyond the core.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct MoreClaims {
    /// Microsoft's tenant.
    pub(super) tid: Option<String>,
    /// The person in it.
    pub(super) oid: Option<String>,
    /// Google's customer whose address it is.
    pub(super) hd: Option<String>,
    /// Not before, in Unix seconds.
    pub(super) nbf: Option<i64>,
}

impl AdditionalClaims for MoreClaims {}

pub(super) type Metadata = ProviderMetadata<
    MoreMetadata,
    CoreAuthDisplay,
    CoreClientAuthMethod,
    CoreClaimName,
    CoreClaimType,
    CoreGrantType,
    CoreJweContentEncryptionAlgorithm,
    CoreJweKeyManagementAlgorithm,
    CoreJsonWebKey,
    CoreResponseMode,
    CoreResponseType,
    CoreSubjectIdentifierType,
>;

pub(super) type Claims = IdTokenClaims<MoreClaims, CoreGenderClaim>;

pub(super) type UserInfo = UserInfoClaims<EmptyAdditionalClaims, CoreGenderClaim>;

type Fields = IdTokenFields<
    MoreClaims,
    EmptyExtraTokenFields,
    CoreGenderClaim,
    CoreJweContentEncryptionAlgorithm,
    CoreJwsSigningAlgorithm,
>;

pub(super) type Client = openidconnect::Client<
    MoreClaims,
    CoreAuthDisplay,
    CoreGenderClaim,
    CoreJweContentEncryptionAlgorithm,
    CoreJsonWebKey,
    CoreAuthPrompt,
    StandardErrorResponse<CoreErrorResponseType>,
    StandardTokenResponse<Fields, CoreTokenType>,
    CoreTokenIntrospectionResponse,
    CoreRevocableToken,
    CoreRevocationErrorResponse,
    EndpointSet,
    EndpointNotSet,
    EndpointNotSet,
    EndpointNotSet,
    EndpointMaybeSet,
    EndpointMaybeSet,
>;
