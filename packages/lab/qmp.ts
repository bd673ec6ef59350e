// Speaks QEMU's machine protocol over its unix socket: one JSON object a line, answers in order, events in between.
import { createConnection, type Socket } from "node:net";
import { LabError } from "./errors.ts";

interface Reply {
  readonly return?: unknown;
  readonly error?: { readonly desc?: string };
}

/** A connection to one QEMU, past its greeting. */
export class QmpClient {
  private buffer = "";
  private waiting: { resolve: (reply: Reply) => void; reject: (error: Error) => void } | undefined;

  private constructor(private readonly socket: Socket) {
    socket.setEncoding("utf8");
    socket.on("data", (text: string) => this.receive(text));
    socket.on("error", (error) => this.waiting?.reject(new LabError(`QMP: ${error.message}`)));
    socket.on("close", () => this.waiting?.reject(new LabError("QMP: QEMU closed the connection")));
  }

  /** Connects to the socket `path` and leaves the greeting's negotiation mode. */
  static async connect(path: string, timeoutSeconds = 20): Promise<QmpClient> {
    const socket = createConnection(path);
    const client = new QmpClient(socket);
    await client.execute("qmp_capabilities", {}, timeoutSeconds);
    return client;
  }

  /**
   * Runs one command and waits for its answer.
   * @throws LabError with QEMU's words when it refuses, or when no answer comes in time
   */
  execute(command: string, args: Readonly<Record<string, unknown>>, timeoutSeconds: number): Promise<unknown> {
    if (this.waiting) throw new LabError(`QMP: ${command} while another command runs`);
    return new Promise((resolve, reject) => {
      const timer = setTimeout(
        () => settle(new LabError(`QMP: no answer to ${command} in ${timeoutSeconds} s`)),
        timeoutSeconds * 1000,
      );
      const settle = (outcome: Reply | Error) => {
        clearTimeout(timer);
        this.waiting = undefined;
        if (outcome instanceof Error) reject(outcome);
        else if (outcome.error) reject(new LabError(`QMP: ${command}: ${outcome.error.desc ?? "refused"}`));
        else resolve(outcome.return);
      };
      this.waiting = { resolve: settle, reject: settle };
      this.socket.write(`${JSON.stringify({ execute: command, arguments: args })}\n`);
    });
  }

  close(): void {
    this.socket.destroy();
  }

  private receive(text: string): void {
    this.buffer += text;
    for (let end = this.buffer.indexOf("\n"); end >= 0; end = this.buffer.indexOf("\n")) {
      const line = this.buffer.slice(0, end);
      this.buffer = this.buffer.slice(end + 1);
      const message = JSON.parse(line) as Reply;
      if ("return" in message || "error" in message) this.waiting?.resolve(message);
    }
  }
}
