"""How a request comes in and goes out over gRPC. Nothing else in the server knows protobuf.

listening    the two doors, for images and for admins: the way to open and to close
port         a port of gRPC: health, reflection
interceptor  around each call: its id, log line, metrics and errors; admission: the gate
images       the four methods of ImageService
models       the four of ModelService, on the admin port; provenance: VerifyImage
wire         bytes -> messages; validation: every wrong field; locales, packshots: two long checks
messages     messages -> the core's nouns, and back
answers      through the pipeline, or from an earlier answer; updates: progress for slow readers
status       errors -> google.rpc.Status, by table
"""
