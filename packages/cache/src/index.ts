/**
 * A supervised cache: sliding lifetimes, one load per key, and nothing that was removed ever comes back.
 *
 * @since 0.1.0
 */
export * as Cache from "./Cache.js"
export * as ChangeFeed from "./ChangeFeed.js"
export * as RepoCache from "./RepoCache.js"
export * as ResourceCache from "./ResourceCache.js"
