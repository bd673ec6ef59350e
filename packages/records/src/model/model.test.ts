import { modelTests } from "../testing/model-tests.ts";
import { temporaryStore } from "../testing/temporary-store.ts";

modelTests("PGlite", () => temporaryStore());
