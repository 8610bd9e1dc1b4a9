// SPDX-License-Identifier: MIT
// grpc-js against our server: client.mjs PORT.  Prints one line a check; the exit code is the verdict.
import grpc from "@grpc/grpc-js";

const client = new grpc.Client(`127.0.0.1:${process.argv[2]}`, grpc.credentials.createInsecure());
const same = (bytes) => bytes;

function call(path, bytes, options = {}) {
  return new Promise((resolve) => {
    client.makeUnaryRequest(path, same, same, bytes, new grpc.Metadata(), options,
      (error, reply) => resolve({ code: error ? error.code : 0, details: error?.details, reply }));
  });
}

function check(name, truth, what) {
  console.log(`  ${truth ? "ok  " : "FAIL"} grpc-js: ${name}${truth ? "" : `: ${JSON.stringify(what)}`}`);
  if (!truth) process.exitCode = 1;
}

let got = await call("/test.Echo/Echo", Buffer.from("hello"));
check("unary", got.code === 0 && got.reply.toString() === "hello", got);
got = await call("/test.Echo/Echo", Buffer.alloc(1000000, 7));
check("a message of 1 MB", got.code === 0 && got.reply.length === 1000000, got.code);
got = await call("/test.Echo/Fail", Buffer.alloc(0));
check("an error with its text", got.code === 3 && got.details === "grüß 100%", got);
got = await call("/test.Echo/Never", Buffer.alloc(0), { deadline: Date.now() + 300 });
check("a deadline", got.code === 4, got);
got = await call("/test.Echo/None", Buffer.alloc(0));
check("an unknown method", got.code === 12, got);
got = await call("/test.Echo/Echo", Buffer.alloc(4 * 1024 * 1024 + 1));
check("an oversize message", got.code === 8, got);
const many = await Promise.all(
  Array.from({ length: 1000 }, (_, i) => call("/test.Echo/Later", Buffer.from(String(i)))));
check("1,000 calls in flight",
  many.every((a, i) => a.code === 0 && a.reply.toString() === String(i)), many.find((a) => a.code));
const answers = await new Promise((resolve) => {
  const ids = [];
  const stream = client.makeBidiStreamRequest("/test.Echo/ManyEcho", same, same, new grpc.Metadata());
  stream.on("data", (bytes) => ids.push(bytes[1]));
  stream.on("status", (status) => resolve({ code: status.code, ids }));
  stream.on("error", () => {});
  for (let i = 1; i <= 100; i++) stream.write(Buffer.from([0x08, i, 0x1a, 1, i]));
  stream.end();
});
check("100 calls on one stream", answers.code === 0 && answers.ids.length === 100
  && answers.ids.every((id, i) => id === i + 1), answers);
client.close();
