import { useState } from 'preact/hooks';
import { api, type Schemas, take, takeVersion } from '../../data/api.ts';
import { useAction, useData } from '../../data/use-data.ts';
import { fieldProblems } from '../../text/problem-text.ts';
import { t } from '../../text/t.ts';
import { Loading, Problem } from '../../ui/basics.tsx';
import { Check, Dialog, Form, TextArea } from '../../ui/forms.tsx';
import { parametersOf, textOf } from './parameter-lines.ts';

type Settings = Schemas['PostbackSettings'];

interface DialogProps {
  readonly programId: string;
  readonly onClose: () => void;
}

/** Who may call `/postback` and `/pixel` for a program, and which words the calls use. */
export function PostbackSettings({ programId, onClose }: DialogProps) {
  const { data, error, reload } = useData(
    (signal) => {
      const params = { path: { id: programId } };
      return takeVersion(api.GET('/v1/programs/{id}/postback-settings', { params, signal }));
    },
    [programId],
  );
  return (
    <Dialog title={t('postbackSettings.title')} onClose={onClose}>
      <Problem error={error} onRetry={reload} />
      {!data && error === undefined && <Loading />}
      {data && <Fields settings={data.data} etag={data.etag} programId={programId} onClose={onClose} />}
    </Dialog>
  );
}

function Fields({ settings, etag, programId, onClose }: DialogProps & { settings: Settings; etag: string }) {
  const [names, setNames] = useState(textOf(settings.parameters));
  const [networks, setNetworks] = useState(settings.allowed_ips.join('\n'));
  const [signed, setSigned] = useState(settings.require_signature);
  const [pixel, setPixel] = useState(settings.pixel);
  const { run, busy, error } = useAction(async () => {
    const body = {
      parameters: parametersOf(names) as Settings['parameters'],
      allowed_ips: networks.split(/[\s,]+/).filter((one) => one !== ''),
      require_signature: signed,
      pixel,
    };
    const params = { path: { id: programId }, header: { 'if-match': etag } };
    await take(api.PUT('/v1/programs/{id}/postback-settings', { params, body }));
    onClose();
  });
  const faults = fieldProblems(error);
  const faultOf = (field: string) =>
    Object.entries(faults).find(([name]) => name === field || name.startsWith(`${field}.`))?.[1];
  const namesFault = error instanceof SyntaxError ? error.message : faultOf('parameters');
  const networksFault = faultOf('allowed_ips');
  return (
    <Form
      submit={t('common.save')}
      busy={busy}
      error={namesFault === undefined && networksFault === undefined ? error : undefined}
      onSubmit={() => void run()}
    >
      <TextArea
        label={t('postbackSettings.names')}
        hint={t('postbackSettings.names_hint')}
        value={names}
        onChange={setNames}
        fault={namesFault}
      />
      <TextArea
        label={t('postbackSettings.addresses')}
        hint={t('postbackSettings.addresses_hint')}
        value={networks}
        onChange={setNetworks}
        fault={networksFault}
      />
      <Check label={t('postbackSettings.only_signed')} checked={signed} onChange={setSigned} />
      <Check label={t('postbackSettings.pixel')} checked={pixel} onChange={setPixel} />
    </Form>
  );
}
