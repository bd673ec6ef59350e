// Runs another program without a shell, bounded in time and in what it may say, and words its failure.
import { spawn } from "node:child_process";
import { LabError } from "./errors.ts";

/** The Debian package that brings a program, for the message when it is missing. */
const packages: Readonly<Record<string, string>> = {
  "apt-get": "apt",
  "apt-cache": "apt",
  "dpkg-deb": "dpkg",
  "qemu-system-x86_64": "qemu-system-x86",
  "/usr/bin/time": "time",
  mke2fs: "e2fsprogs",
  e2fsck: "e2fsprogs",
  debugfs: "e2fsprogs",
  ldd: "libc-bin",
  xz: "xz-utils",
  zstd: "zstd",
};

export interface CommandOptions {
  readonly timeoutSeconds: number;
  /** What messages call it; the program and its arguments without it. */
  readonly label?: string;
  readonly cwd?: string;
  readonly env?: Readonly<Record<string, string | undefined>>;
  readonly input?: Uint8Array;
  /** Exit codes that are no failure; only 0 without it. */
  readonly accept?: readonly number[];
  /** More output than this is a failure (bytes); 64 MiB without it. */
  readonly maxOutputBytes?: number;
}

export interface CommandResult {
  readonly stdout: Buffer;
  readonly stderr: string;
  readonly exitCode: number;
}

/** Advice for a program that is not installed. */
export function missingProgram(program: string): LabError {
  const name = packages[program] ?? program;
  return new LabError(`${program} is not installed; try: apt-get install ${name}`);
}

/**
 * Runs `program` with `args` and collects its output.
 * @throws LabError when it is not installed, takes too long, says too much, or ends with a code not in `accept`.
 */
export function run(program: string, args: readonly string[], options: CommandOptions): Promise<CommandResult> {
  const limit = options.maxOutputBytes ?? 64 << 20;
  const accept = options.accept ?? [0];
  const label = options.label ?? `${program} ${args.join(" ").slice(0, 200)}`;
  return new Promise((resolve, reject) => {
    const child = spawn(program, args, {
      cwd: options.cwd,
      env: { ...process.env, ...options.env },
      stdio: ["pipe", "pipe", "pipe"],
    });
    const stdout: Buffer[] = [];
    let stdoutBytes = 0;
    let stderr = "";
    let trouble: LabError | undefined;
    const stop = (why: string) => {
      trouble ??= new LabError(`${label}: ${why}`);
      child.kill("SIGKILL");
    };
    const timer = setTimeout(
      () => stop(`still running after ${options.timeoutSeconds} s`),
      options.timeoutSeconds * 1000,
    );
    child.stdout.on("data", (chunk: Buffer) => {
      stdoutBytes += chunk.length;
      if (stdoutBytes > limit) stop(`wrote more than ${limit} bytes`);
      else stdout.push(chunk);
    });
    child.stderr.on("data", (chunk: Buffer) => {
      stderr = (stderr + chunk.toString()).slice(-16384);
    });
    child.stdin.on("error", () => {}); // a program that does not read its input to the end
    child.stdin.end(options.input);
    child.on("error", (error: NodeJS.ErrnoException) => {
      clearTimeout(timer);
      reject(error.code === "ENOENT" ? missingProgram(program) : new LabError(`${program}: ${error.message}`));
    });
    child.on("close", (code) => {
      clearTimeout(timer);
      const exitCode = code ?? -1;
      if (trouble) reject(trouble);
      else if (accept.includes(exitCode)) resolve({ stdout: Buffer.concat(stdout), stderr, exitCode });
      else reject(new LabError(`${label}: exit code ${exitCode}: ${lastLines(stderr)}`));
    });
  });
}

/** The last few lines of a program's complaint. */
export function lastLines(text: string, count = 4): string {
  return text.trim().split("\n").slice(-count).join("\n");
}

/**
 * Unpacks only the members of a .deb that `patterns` match (tar's wildcards, "./usr/…") into `folder`. A debug
 * package holds gigabytes of which the lab wants one file.
 * @throws LabError when dpkg-deb or tar fails or takes too long
 */
export async function unpackSome(
  deb: string,
  patterns: readonly string[],
  folder: string,
  timeoutSeconds: number,
): Promise<void> {
  const source = spawn("dpkg-deb", ["--fsys-tarfile", deb], { stdio: ["ignore", "pipe", "ignore"] });
  const sink = spawn("tar", ["-x", "-C", folder, "--wildcards", ...patterns], {
    stdio: [source.stdout, "ignore", "pipe"],
  });
  source.stdout.destroy(); // the pipe is tar's now
  let complaint = "";
  sink.stderr?.on("data", (chunk: Buffer) => {
    complaint = (complaint + chunk.toString()).slice(-4096);
  });
  const timer = setTimeout(() => source.kill("SIGKILL"), timeoutSeconds * 1000);
  const end = (child: typeof source | typeof sink, name: string) =>
    new Promise<number>((resolve, reject) => {
      child.on("error", (error: NodeJS.ErrnoException) =>
        reject(error.code === "ENOENT" ? missingProgram(name) : error),
      );
      child.on("close", (code) => resolve(code ?? -1));
    });
  const codes = await Promise.all([end(source, "dpkg-deb"), end(sink, "tar")]).finally(() => clearTimeout(timer));
  if (codes.some((code) => code !== 0)) throw new LabError(`${deb}: could not be unpacked: ${lastLines(complaint)}`);
}
