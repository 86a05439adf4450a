// `node forward.mjs ADDRESS:PORT ADDRESS:PORT` passes connections on, as a tunnel between machines does.
import { connect, createServer } from 'node:net';

const [from, to] = process.argv.slice(2).map((text) => {
  const [host, port] = text.split(':');
  return { host, port: Number(port) };
});
createServer((near) => {
  const far = connect(to);
  near.pipe(far).pipe(near);
  for (const socket of [near, far]) {
    socket.on('error', () => undefined);
    socket.on('close', () => {
      near.destroy();
      far.destroy();
    });
  }
}).listen(from);
