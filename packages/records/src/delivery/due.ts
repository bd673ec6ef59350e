// What a delivery is made of: shared by hooks and mail.
import type { Store } from "../store/open.ts";

export interface DeliveryOptions {
  readonly store: Store;
  /** "smtp://127.0.0.1:25"; no mail without it */
  readonly smtp?: string;
  readonly mailFrom?: string;
  /** where links of mails and hooks lead */
  readonly site: string;
  readonly signal: AbortSignal;
  readonly pollMs?: number;
}

export interface Due {
  readonly webhook_id: number | null;
  readonly person_id: number | null;
  readonly event_id: number;
  readonly bug_id: number;
  readonly event_kind: string;
  readonly changes: unknown;
  readonly date: Date;
  readonly by: number;
}
