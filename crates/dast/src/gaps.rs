//! The pages of what this crate may not have looked at, and of what may be wrong with a document.

/// Id and page; sorted.
pub(crate) const PAGES: &[(&str, &str)] = &[
    (
        ANSWER_NOT_READ,
        "# dast/answer-not-read\n\nAn answer was longer than one mebibyte, so it was not judged.\n\n\
         ## What to do\n\nLimit what one answer holds (paging), or test that route by other means.\n",
    ),
    (
        DOCUMENT_NOT_READ,
        "# dast/document-not-read\n\nThe document is neither JSON nor YAML, or is longer than 16 MiB.\n\n\
         ## What to do\n\nMend it at the line given.\n",
    ),
    (
        DOCUMENT_SHAPE,
        "# dast/document-shape\n\nThe document lacks what every OpenAPI document has (`openapi`, `info`, `paths`), or \
         has something else in its place.\n\n## What to do\n\nHold it against \
         <https://spec.openapis.org/oas/latest.html>.\n",
    ),
    (
        DOCUMENT_VERSION,
        "# dast/document-version\n\nOpenAPI 3.0 and 3.1 are read; Swagger 2.0 is not.\n\n## What to do\n\nConvert the \
         document to OpenAPI 3.1.\n",
    ),
    (
        IDENTITY_REFUSED,
        "# dast/identity-refused\n\nAn identity's credentials were refused by every operation that asks for some, so \
         nothing behind authentication was tested as that identity. A gate holds this as undetermined.\n\n\
         ## What to do\n\nCheck that the identity's role may lease credentials for this service.\n",
    ),
    (
        NO_OPERATIONS,
        "# dast/no-operations\n\nThe document describes no operation that can be tested. A gate holds this as \
         undetermined.\n\n## What to do\n\nDescribe the service's operations under `paths`.\n",
    ),
    (
        NO_VALID_INPUT,
        "# dast/no-valid-input\n\nNo input could be made that keeps to an operation's schema, so it was only tested \
         with what was made instead.\n\n## What to do\n\nGive an `example` in the document.\n",
    ),
    (
        REQUESTS_MAX,
        "# dast/requests-max\n\nMore requests were planned than `requests_max` allows. A gate holds this as \
         undetermined when not even every valid request fitted in.\n\n## What to do\n\nRaise `requests_max`.\n",
    ),
    (
        ROUTE_NOT_REACHED,
        "# dast/route-not-reached\n\nAn operation never answered 2xx, so what it does with input behind its first \
         checks was not tested.\n\n## What to do\n\nGive examples in the document that the service accepts, and an \
         identity that may call it.\n",
    ),
    (
        TARGET_GONE,
        "# dast/target-gone\n\nThe service stopped accepting connections during the test, so the rest was not tested. \
         A gate holds this as undetermined.\n\n## What to do\n\nRead the service's log for the time of the last \
         request.\n",
    ),
    (
        UNRESOLVED_REFERENCE,
        "# dast/unresolved-reference\n\nA `$ref` points outside of the document or to nothing, so what it stands for \
         was left out. A gate holds it as undetermined when it stood for an operation's input.\n\n## What to do\n\n\
         Bundle the document into one file.\n",
    ),
    (
        UNSUPPORTED,
        "# dast/unsupported\n\nSomething in the document is valid but not understood here: a keyword, a pattern, a \
         media type. What it asks for is neither sent nor held against answers.\n\n## What to do\n\nNothing, or say \
         it with keywords that are understood.\n",
    ),
];

pub(crate) const ANSWER_NOT_READ: &str = "dast/answer-not-read";
pub(crate) const DOCUMENT_NOT_READ: &str = "dast/document-not-read";
pub(crate) const DOCUMENT_SHAPE: &str = "dast/document-shape";
pub(crate) const DOCUMENT_VERSION: &str = "dast/document-version";
pub(crate) const IDENTITY_REFUSED: &str = "dast/identity-refused";
pub(crate) const NO_OPERATIONS: &str = "dast/no-operations";
pub(crate) const NO_VALID_INPUT: &str = "dast/no-valid-input";
pub(crate) const REQUESTS_MAX: &str = "dast/requests-max";
pub(crate) const ROUTE_NOT_REACHED: &str = "dast/route-not-reached";
pub(crate) const TARGET_GONE: &str = "dast/target-gone";
pub(crate) const UNRESOLVED_REFERENCE: &str = "dast/unresolved-reference";
pub(crate) const UNSUPPORTED: &str = "dast/unsupported";
