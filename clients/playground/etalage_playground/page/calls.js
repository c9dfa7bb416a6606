// Calls of the playground's own site, which asks the server. Each may throw Refused.

export class Refused extends Error {
  constructor(told) {
    super(told.text);
    Object.assign(this, { wrong: [] }, told);
  }
}

const GONE = {
  name: "Gone",
  text: "This page has lost its playground. Start it again with “make playground”.",
};

export const getJson = (path, options) => call(path, options).then((reply) => reply.json());

export const postJson = (path, body, options) =>
  getJson(path, { method: "POST", body: JSON.stringify(body), ...options });

// Yields one object for each line of the answer, as it comes. Aborting ends the call on the server.
export async function* postLines(path, body, signal) {
  const reply = await call(path, { method: "POST", body: JSON.stringify(body), signal });
  const reader = reply.body.pipeThrough(new TextDecoderStream()).getReader();
  let rest = "";
  for (;;) {
    const { value, done } = await read(reader);
    if (done) return;
    const lines = (rest + value).split("\n");
    rest = lines.pop();
    for (const line of lines) {
      const news = JSON.parse(line);
      if (news.kind === "error") throw new Refused(news);
      yield news;
    }
  }
}

async function call(path, options = {}) {
  const reply = await reach(() => fetch(path, options));
  if (reply.ok) return reply;
  const told = await reply.json().catch(() => ({ name: "Refused", text: reply.statusText }));
  throw new Refused(told);
}

const read = (reader) => reach(() => reader.read());

async function reach(action) {
  try {
    return await action();
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new Refused({ ...GONE, told: error.message });
  }
}

export const isAborted = (error) => error.name === "AbortError";
