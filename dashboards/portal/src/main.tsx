import { render } from 'preact';
import { App } from './app/app.tsx';
import { startDialogHistory } from './app/dialog-history.ts';
import { applyTheme } from './app/theme.ts';
import { LANGUAGE } from './text/language.ts';

document.documentElement.lang = LANGUAGE;
applyTheme();
startDialogHistory();
const place = document.getElementById('portal');
if (place) render(<App />, place);
