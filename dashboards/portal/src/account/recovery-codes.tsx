import { Copy } from '../ui/basics.tsx';

/** Recovery codes, which are shown once: to copy or to download. */
export function RecoveryCodes({ codes }: { codes: readonly string[] }) {
  const text = `Recovery codes of Afflux at ${window.location.host}, each for one sign-in:\n\n${codes.join('\n')}\n`;
  return (
    <div class="stack">
      <p>
        <strong>Store these recovery codes now.</strong> They are not shown again. Without your phone, each
        lets you sign in once in place of a code.
      </p>
      <ul class="codes">
        {codes.map((code) => (
          <li key={code}>
            <code>{code}</code>
          </li>
        ))}
      </ul>
      <div class="actions">
        <Copy text={text} label="the recovery codes" />
        <a
          download="afflux-recovery-codes.txt"
          href={`data:text/plain;charset=utf-8,${encodeURIComponent(text)}`}
        >
          Download
        </a>
      </div>
    </div>
  );
}
