// Asks for a slate within a deadline, comes back when the server says so, and saves the images.

import { randomUUID } from "node:crypto";
import { mkdir, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";

import { Code, ConnectError, createClient } from "@connectrpc/connect";
import { createGrpcTransport } from "@connectrpc/connect-node";

import {
  type GenerateSlateResponse,
  ImageService,
  Personalization_Reason,
} from "./generated/etalage/v1/images_pb.js";

const BACKOFF_MS = 500; // where nobody is there to say when to come back

const [address, user, folder, ...products] = process.argv.slice(2);
if (address === undefined || user === undefined || folder === undefined || products.length === 0) {
  console.error("usage: example ADDRESS USER FOLDER PRODUCT...");
  process.exit(2);
}
const apiKey = process.env.ETALAGE_API_KEY;
const deadline = Date.now() + 1000 * Number(process.env.ETALAGE_TIMEOUT_S ?? 30);
// Plain text is for this machine alone: to any other https://, which is TLS.
const client = createClient(ImageService, createGrpcTransport({ baseUrl: `http://${address}` }));
// The same for all tries: what was made before a connection broke is not made again.
const requestId = randomUUID();

await mkdir(folder, { recursive: true });
try {
  await askUntilDeadline(folder);
} catch (error) {
  const { code, rawMessage } = ConnectError.from(error);
  console.error(`failed: ${Code[code]}: ${rawMessage}`);
  process.exitCode = 1;
}

async function askUntilDeadline(folder: string): Promise<void> {
  for (;;) {
    try {
      return await ask(folder);
    } catch (error) {
      const pauseMs = findPauseMs(ConnectError.from(error));
      if (pauseMs === undefined || Date.now() + pauseMs >= deadline) throw error;
      console.log(`refused, again in ${pauseMs} ms`);
      await sleep(pauseMs);
    }
  }
}

async function ask(folder: string): Promise<void> {
  const slate = client.generateSlate(
    { productIds: products, template: { userId: user }, requestId },
    { timeoutMs: deadline - Date.now(), headers: apiKey ? { "x-api-key": apiKey } : {} },
  );
  for await (const item of slate) await save(item, folder); // each as soon as it is ready
}

/** After which to ask again; undefined where that would not help. */
function findPauseMs(error: ConnectError): number | undefined {
  if (error.code !== Code.ResourceExhausted && error.code !== Code.Unavailable) return undefined;
  const pauseMs = Number(error.metadata.get("grpc-retry-pushback-ms") ?? BACKOFF_MS);
  return pauseMs >= 0 ? pauseMs : undefined; // a negative one says never
}

async function save({ rank, productId, outcome }: GenerateSlateResponse, folder: string) {
  if (outcome.case !== "result") {
    console.log(`${rank} ${productId}: failed, ${outcome.value?.reason}`);
    return;
  }
  const { images, arm, personalization } = outcome.value;
  const reason = Personalization_Reason[personalization?.reason ?? 0];
  for (const image of images) {
    const path = join(folder, `${rank}.${image.mimeType.split("/")[1]}`);
    await writeFile(path, image.data);
    console.log(`${rank} ${productId}: ${arm}, ${reason}, ${path}`);
  }
}
