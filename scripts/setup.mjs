// Sets this checkout up: dependencies, build, nats-server. It says nothing when all is there.
import { setUp } from './setup/set-up.mjs';

await setUp();
