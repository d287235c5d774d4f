import { existsSync, readFileSync } from "node:fs"
import type * as Machine from "../../src/supervision/machine.js"

/**
 * 400 random scenarios recorded on a running OTP 25: what was done, what the supervisor answered, what it started and stopped
 * in which order, and what was up afterwards. The recording lies beside a maintainer's checkout and is not part of the
 * repository; where it is missing its tests are skipped, and the property test still holds the machine against a model.
 */
export interface Step {
  readonly op: "crash" | "normal" | "shutdown" | "terminate" | "delete" | "restart" | "failNext"
  readonly id: string
  readonly times?: number
  readonly result: string
  readonly alive: boolean
  readonly events: ReadonlyArray<ReadonlyArray<string>>
  readonly tree: ReadonlyArray<readonly [string, string]>
}

export interface Scenario {
  readonly n: number
  readonly strategy: Machine.Strategy
  readonly autoShutdown: "never" | "any_significant" | "all_significant"
  readonly intensity: number
  readonly children: ReadonlyArray<Machine.ChildSpec>
  readonly initFail: string | null
  readonly start: { readonly ok: boolean; readonly events: ReadonlyArray<ReadonlyArray<string>> }
  readonly steps: ReadonlyArray<Step>
  readonly stop?: ReadonlyArray<ReadonlyArray<string>>
}

const recording = new URL("../../../../../shared/spec/otp-traces.jsonl", import.meta.url)

export const isPresent = existsSync(recording)

export const scenarios: ReadonlyArray<Scenario> = isPresent
  ? readFileSync(recording, "utf8")
      .trim()
      .split("\n")
      .map((line) => JSON.parse(line) as Scenario)
  : []

export const autoShutdown = {
  never: "never",
  any_significant: "anySignificant",
  all_significant: "allSignificant"
} as const

/** All the recording's periods are an hour. */
export const period = 3_600_000
