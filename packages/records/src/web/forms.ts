// The pages' forms as plain values.
import type { FastifyRequest } from "fastify";
import type { Upload } from "../api/arguments.ts";
import { bodyOf } from "../api/routes.ts";

export interface Form {
  text(name: string): string;
  file(name: string): Upload | undefined;
}

export async function formOf(request: FastifyRequest): Promise<Form> {
  const raw = await bodyOf(request);
  return {
    text: (name) => {
      const value = raw.get(name)?.[0];
      return typeof value === "string" ? value.replace(/\r\n/g, "\n") : "";
    },
    file: (name) => {
      const value = raw.get(name)?.[0];
      return value !== undefined && typeof value !== "string" && value.bytes.length > 0 ? value : undefined;
    },
  };
}
