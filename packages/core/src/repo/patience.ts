/**
 * Notices that those who share a connection wait for each other: that for too long nothing has happened on it, while somebody waits for it. Whoever holds
 * it may wait for just that one, and then both would wait for ever.
 */
export class Patience {
  private progress = performance.now()

  /** For how long nothing may happen, in milliseconds of real time. */
  constructor(private readonly limit: number) {}

  /** Something happened. */
  noticed(): void {
    this.progress = performance.now()
  }

  /** Calls back when it is over for one who begins to wait now; gives back how to stop looking. What is busy is PostgreSQL, which is for others to limit. */
  whenOver(isBusy: () => boolean, tell: () => void): () => void {
    const begun = performance.now()
    let timer: ReturnType<typeof setTimeout>
    const look = () => {
      const busy = isBusy()
      const still = this.limit - (performance.now() - Math.max(begun, this.progress))
      if (busy || still > 0) timer = setTimeout(look, busy ? this.limit : still)
      else tell()
    }
    timer = setTimeout(look, this.limit)
    return () => clearTimeout(timer)
  }
}
