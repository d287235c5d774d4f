/** What ways that ask in promises have in common. */
import pg from "pg"
import { database } from "../rows.js"

type One = (value: number) => Promise<number>

/** One after the other. */
export const summed = async (of: ReadonlyArray<number>, each: One): Promise<number> => {
  let sum = 0
  for (const one of of) sum += await each(one)
  return sum
}

/** All at once. */
export const summedAtOnce = async (of: ReadonlyArray<number>, each: One): Promise<number> =>
  (await Promise.all(of.map(each))).reduce((sum, one) => sum + one, 0)

/** The database behind a pool of the bare driver. */
export const pooled = async (): Promise<{ readonly pool: pg.Pool; readonly close: () => Promise<void> }> => {
  const { address, runtime } = await database()
  return { pool: new pg.Pool({ ...address }), close: () => runtime.dispose() }
}
