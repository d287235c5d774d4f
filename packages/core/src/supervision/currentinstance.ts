import * as Context from "effect/Context"
import type { Instance } from "./instance.js"

/** The instance a layer is built in: what a nested tree escalates to. */
export class CurrentInstance extends Context.Reference<CurrentInstance>()("@effecto/core/supervision/CurrentInstance", {
  defaultValue: (): Instance | undefined => undefined
}) {}
