#include "report/color.h"
#include "report/page.h"

/* --s: nine colours that stay apart for normal, deuteranope and protanope eyes (at least 0.1 in OKLab), chosen per scheme
 * against its background; --o: sources, the residual stream in blues, the sub-layers in warm tones. */
static const char LIGHT[] =
    ":root{--bg:#f6f7f9;--card:#fff;--ink:#161b22;--soft:#57606a;--faint:#8b949e;--rule:#e3e7ec;--grid:#eceff3;"
    "--accent:#1f5fa8;--chip:#eef1f5;--warn:#8a4b00;--warnbg:#fff4dc;--usr:#1f5fa8;--ast:#12704f;--sys:#66707b;"
    "--bar:#9fc3e8;--s0:#e4849f;--s1:#c72d20;--s2:#65a6f5;--s3:#7a0056;--s4:#884bdc;--s5:#ae9a04;--s6:#397274;--s7:#0320a7;"
    "--s8:#1f3600;--o0:#123f8f;--o1:#5c9fe0;--o2:#b8590d;--o3:#8c2f88}\n";
static const char DARK[] =
    ":root{--bg:#0f1318;--card:#161b22;--ink:#e6edf3;--soft:#a0abb7;--faint:#76818d;--rule:#2b323b;--grid:#232a32;"
    "--accent:#79b4f5;--chip:#222932;--warn:#ffcf7a;--warnbg:#3a2c0c;--usr:#79b4f5;--ast:#5fcf9f;--sys:#a0abb7;"
    "--bar:#2f5d8f;--s0:#f88577;--s1:#a86218;--s2:#1379c3;--s3:#d0357f;--s4:#9d8bfe;--s5:#f7c317;--s6:#1fbac4;--s7:#e2d1fb;"
    "--s8:#8cfeab;--o0:#5aa2ff;--o1:#b5dcff;--o2:#f2a34c;--o3:#e58ae0}\n";

static const char LAYOUT[] =
    "*{box-sizing:border-box}html{-webkit-text-size-adjust:100%}\n"
    "body{margin:0;background:var(--bg);color:var(--ink);font:15px/1.5 system-ui,-apple-system,\"Segoe UI\",Roboto,"
    "\"Helvetica Neue\",\"DejaVu Sans\",Arial,sans-serif;font-variant-numeric:tabular-nums}\n"
    "main{max-width:1280px;margin:0 auto;padding:28px 28px 64px}\n"
    "h1{font-size:30px;line-height:1.2;margin:0;letter-spacing:-.01em;overflow-wrap:anywhere}\n"
    "h2{font-size:21px;line-height:1.3;margin:0 0 4px;letter-spacing:-.005em}h3{font-size:15px;margin:0 0 8px}\n"
    ".prompt{font-size:24px;margin:44px 0 0;padding-top:20px;border-top:2px solid var(--rule)}\n"
    "p{margin:0 0 12px;max-width:82ch}.lead{color:var(--soft);margin-bottom:16px}.none{color:var(--faint);padding:16px 0}\n"
    "code,.mono{font-family:ui-monospace,SFMono-Regular,Menlo,Consolas,\"DejaVu Sans Mono\",monospace;font-size:.92em}\n"
    "section{background:var(--card);border:1px solid var(--rule);border-radius:10px;padding:22px 24px;margin-top:20px}\n"
    "nav{display:flex;flex-wrap:wrap;gap:6px 16px;margin-top:14px;font-size:14px}a{color:var(--accent)}\n"
    ".kicker{font-size:12px;letter-spacing:.08em;text-transform:uppercase;color:var(--soft);margin:0 0 6px}\n"
    ".sub{color:var(--soft);margin:6px 0 0}.state{font-weight:600}\n"
    ".banner{background:var(--warnbg);color:var(--warn);border-radius:8px;padding:12px 16px;margin:16px 0 0;"
    "font-weight:600}\n"
    ".banner span{font-weight:400}\n"
    ".tiles{display:grid;grid-template-columns:repeat(auto-fit,minmax(205px,1fr));gap:14px;margin-top:20px}\n"
    ".tile{background:var(--card);border:1px solid var(--rule);border-radius:10px;padding:16px 18px}\n"
    ".tile .what{font-size:13px;color:var(--soft)}.tile .big{font-size:25px;font-weight:650;line-height:1.25;"
    "letter-spacing:-.01em;overflow-wrap:anywhere}.tile .big small{font-size:15px;font-weight:500}.tile .more span{"
    "white-space:nowrap}.tile .more{font-size:13px;color:var(--soft);margin-top:4px;overflow-wrap:anywhere}\n"
    ".split{display:flex;height:8px;border-radius:4px;overflow:hidden;margin-top:10px;gap:2px}.split i{display:block;"
    "min-width:2px}\n"
    ".key{display:inline-block;width:9px;height:9px;border-radius:2px;margin-right:4px}\n"
    "dl.facts{display:grid;grid-template-columns:max-content 1fr;gap:4px 18px;margin:14px 0 0;font-size:13px}\n"
    "dl.facts dt{color:var(--soft)}dl.facts dd{margin:0;overflow-wrap:anywhere}\n"
    ".findings{display:grid;grid-template-columns:repeat(auto-fit,minmax(min(300px,100%),1fr));gap:22px 30px;margin:18px 0 0;"
    "padding:0;list-style:none}\n"
    ".findings li{border-top:3px solid var(--accent);padding-top:10px}.findings .big{font-size:24px;font-weight:650;"
    "line-height:1.25}\n"
    ".findings .what{font-size:13px;color:var(--soft);font-weight:600}.findings p{font-size:14px;margin:6px 0 0}\n"
    ".findings li.aside{border-top:3px solid var(--rule)}.findings li.aside p{font-size:13.5px;color:var(--soft)}\n"
    ".note{border-left:3px solid var(--rule);padding:2px 0 2px 12px;color:var(--soft);font-size:13.5px;margin:18px 0 0}\n";

static const char TABLES[] =
    ".scroll{overflow-x:auto;margin:0 -4px;padding:0 4px}table{border-collapse:collapse;font-size:13.5px}\n"
    "th{font-weight:600;text-align:right;padding:5px 9px;color:var(--soft);white-space:nowrap;vertical-align:bottom}\n"
    "td{text-align:right;padding:5px 9px;white-space:nowrap}td.l,th.l{text-align:left}tbody th{color:var(--ink)}\n"
    "table.plain tbody tr{border-top:1px solid var(--grid)}table.plain thead tr:last-child{"
    "border-bottom:1px solid var(--rule)}\n"
    "table.many{font-size:12.5px}table.many th,table.many td{padding:5px}\n"
    "table.plain td.max{font-weight:700}table.plain .sep{border-left:1px solid var(--rule)}\n"
    "table.plain th.group{text-align:center;color:var(--ink)}tr.sum td,tr.sum th{border-top:2px solid var(--rule);"
    "font-weight:600}\n"
    "table.heat{border-collapse:separate;border-spacing:2px;width:100%;table-layout:fixed}\n"
    ".heat th.r{text-align:center;padding:4px 1px;font-size:12.5px;overflow:hidden;text-overflow:ellipsis;color:var(--ink)}"
    ".heat col.c{width:76px}\n"
    ".heat td.v{text-align:center;padding:5px 0;border-radius:4px}.heat td.nan{color:var(--faint);background:var(--chip)}\n"
    ".heat td.max{font-weight:750;box-shadow:inset 0 0 0 2px var(--ink)}\n"
    ".heat td.m,.heat th.m{text-align:left;padding:2px 10px 2px 0;overflow:hidden;text-overflow:ellipsis;font-weight:400}\n"
    ".heat col.i{width:34px}.heat col.b{width:84px}.heat td.i{color:var(--soft)}.heat td.b{text-align:left;"
    "padding-left:4px}\n"
    ".badge{display:inline-block;font-size:11.5px;font-weight:600;border-radius:9px;padding:0 8px;line-height:18px;"
    "border:1px solid}\n"
    ".usr{color:var(--usr)}.ast{color:var(--ast)}.sys{color:var(--sys)}.gen{border-style:dashed}\n"
    ".legend{display:flex;flex-wrap:wrap;align-items:center;gap:6px 12px;font-size:13px;color:var(--soft);margin:10px 0 0}"
    "\n"
    ".legend .ramp{display:flex;border-radius:3px;overflow:hidden}.legend .ramp i{display:block;width:5px;height:12px}\n"
    ".legend .ring{display:inline-block;width:15px;height:13px;border-radius:3px;box-shadow:inset 0 0 0 2px var(--ink);"
    "vertical-align:-2px}\n"
    "@media(max-width:1150px){.tile .big{font-size:22px}.heat col.c{width:64px}.heat th.r{font-size:11px}.heat td.v{"
    "font-size:13px}}\n"
    ".pair{display:grid;grid-template-columns:repeat(auto-fit,minmax(min(400px,100%),1fr));gap:18px 26px}.pair th,.pair td{"
    "padding:5px 6px}.pair table{font-size:13px}\n";

static const char CHARTS[] =
    ".charts{display:grid;grid-template-columns:repeat(2,minmax(0,1fr));gap:22px 26px}@media(max-width:900px){.charts{"
    "grid-template-columns:1fr}}\n"
    "figure.chart{margin:0;position:relative;min-width:0}figcaption{font-weight:600;font-size:14px;margin-bottom:4px}\n"
    "figure svg{display:block;width:100%;height:auto;overflow:visible}svg text{font-size:11.5px;fill:var(--soft);"
    "font-family:inherit}\n"
    "svg .tick{font-size:11px}svg .axis{font-size:11.5px}svg text.name{font-size:12px;font-weight:600;fill:var(--ink)}\n"
    "svg path{fill:none}svg .grid{stroke:var(--grid)}svg .zero{stroke:var(--faint)}svg .base,svg .mark{stroke:var(--faint)}"
    "\n"
    "svg .line{stroke-width:1.9;stroke-linejoin:round;stroke-linecap:round}svg .leader{stroke-width:1;opacity:.7}"
    "svg .swatch{stroke-width:3.5}\n"
    "svg .cross{stroke:var(--faint);stroke-dasharray:3 3;pointer-events:none}figure.wide svg .line{stroke-width:2.1}\n"
    ".tip{position:absolute;pointer-events:none;background:var(--card);color:var(--ink);border:1px solid var(--rule);"
    "border-radius:8px;box-shadow:0 4px 14px rgba(0,0,0,.18);font-size:12px;padding:7px 10px;z-index:2;white-space:nowrap;"
    "line-height:1.45}\n"
    ".tip b{display:block}.tip div{display:flex;justify-content:space-between;gap:14px}\n";

static const char REPLY[] =
    ".reply i{color:var(--faint);font-style:normal;font-size:.8em}.reply{border-left:3px solid var(--ast);"
    "padding:4px 0 4px 14px;font-size:16px;white-space:pre-wrap;overflow-wrap:anywhere}\n"
    ".steps td{vertical-align:middle}.steps i{color:var(--faint);font-style:normal}.tok{background:var(--chip);"
    "border-radius:4px;padding:1px 6px;white-space:pre}\n"
    ".p{display:inline-block;width:84px;height:9px;background:var(--chip);border-radius:3px;overflow:hidden;"
    "margin-right:8px;vertical-align:0}.p i{display:block;height:100%;background:var(--bar)}\n"
    ".steps td.cand{white-space:normal;min-width:420px}.steps .alt{display:inline-block;margin:1px 10px 1px 0;"
    "white-space:nowrap;font-size:12.5px}.alt b{font-weight:500;color:var(--soft)}\n"
    "footer{margin-top:28px;font-size:13px;color:var(--soft)}footer p{max-width:none}\n"
    "@media print{main{max-width:none;padding:0}body{background:#fff;font-size:11px}section{border:0;padding:8px 0;"
    "margin-top:10px}*{-webkit-print-color-adjust:exact;print-color-adjust:exact}figure,.findings li,.tile,tr{"
    "break-inside:avoid}h2,h3,.lead,figcaption{break-after:avoid}nav,.tip{display:none}.scroll{overflow:visible}table{"
    "font-size:10px}th,td{padding:2px 5px}.heat col.c{width:48px}.heat col.b{width:66px}.heat th.r,.heat td.v{"
    "font-size:9.5px}.badge{font-size:9px;padding:0 5px;line-height:14px}.charts,.pair{grid-template-columns:repeat(2,"
    "minmax(0,1fr))}.tiles{grid-template-columns:repeat(4,1fr)}.tile .big{font-size:17px}.tile .what,.tile .more{"
    "font-size:9.5px}.findings{grid-template-columns:repeat(3,1fr);gap:12px 16px}.findings .big{font-size:16px}.findings p,"
    ".findings li.aside p,dl.facts{font-size:10px}.pair th,.pair td{padding:2px 3px}.pair table{font-size:9px}table.heat{"
    "min-width:0!important}@page{margin:12mm}}\n";

void lct_page_style(lct_html *h) {
  lct_html_raw(h, "<style>\n");
  lct_html_raw(h, LIGHT);
  lct_color_ramp_css(h, false);
  lct_html_raw(h, "@media screen and (prefers-color-scheme:dark){\n");
  lct_html_raw(h, DARK);
  lct_color_ramp_css(h, true);
  lct_html_raw(h, "}\n");
  lct_html_raw(h, LAYOUT);
  lct_html_raw(h, TABLES);
  lct_html_raw(h, CHARTS);
  lct_html_raw(h, REPLY);
  lct_html_raw(h, "</style>\n");
}

/* Only comfort: under the pointer, a chart names the values of all its lines. Everything is on the page without it. Values are
 * read back from the drawn lines, labels are set as text. */
static const char SCRIPT[] =
    "document.querySelectorAll('svg[data-plot]').forEach(function(svg){\n"
    "var f=svg.parentNode,q=svg.dataset.plot.split(' ').map(Number),yr=svg.dataset.y.split(' ').map(Number),"
    "names=svg.dataset.x.split('|'),tip=null,cross=null;\n"
    "var lines=[].map.call(svg.querySelectorAll('.line'),function(e){return{label:e.dataset.label,"
    "stroke:e.getAttribute('stroke'),pts:(e.getAttribute('d').match(/-?[\\d.]+ -?[\\d.]+/g)||[]).map(function(s){"
    "return s.split(' ').map(Number)})}});\n"
    "var xs=[];lines.forEach(function(l){l.pts.forEach(function(p){if(xs.indexOf(p[0])<0)xs.push(p[0])})});"
    "xs.sort(function(a,b){return a-b});if(xs.length!==names.length)return;\n"
    "function hide(){if(tip){tip.remove();cross.remove();tip=cross=null}}\n"
    "svg.addEventListener('pointerleave',hide);svg.addEventListener('pointermove',function(ev){\n"
    "var r=svg.getBoundingClientRect(),k=svg.viewBox.baseVal.width/r.width,x=(ev.clientX-r.left)*k,i=0;\n"
    "if(x<q[0]-8||x>q[1]+8){hide();return}\n"
    "xs.forEach(function(v,j){if(Math.abs(v-x)<Math.abs(xs[i]-x))i=j});\n"
    "if(!tip){tip=document.createElement('div');tip.className='tip';f.appendChild(tip);"
    "cross=document.createElementNS('http://www.w3.org/2000/svg','path');cross.setAttribute('class','cross');"
    "svg.appendChild(cross)}\n"
    "cross.setAttribute('d','M'+xs[i]+' '+q[2]+'V'+q[3]);tip.textContent='';\n"
    "var head=document.createElement('b');head.textContent=names[i];tip.appendChild(head);\n"
    "var vals=[];lines.forEach(function(l){l.pts.forEach(function(p){if(p[0]===xs[i])vals.push([l,"
    "yr[0]+(q[3]-p[1])/(q[3]-q[2])*(yr[1]-yr[0])])})});\n"
    "vals.sort(function(a,b){return b[1]-a[1]}).forEach(function(v){var d=document.createElement('div'),"
    "a=document.createElement('span'),c=document.createElement('span'),s=document.createElement('span');c.className='key';"
    "c.style.background=v[0].stroke;a.appendChild(c);a.appendChild(document.createTextNode(v[0].label));"
    "s.textContent=v[1].toFixed(3);d.appendChild(a);d.appendChild(s);tip.appendChild(d)});\n"
    "var left=(xs[i]/k)+14;if(left+tip.offsetWidth>r.width)left=xs[i]/k-tip.offsetWidth-14;tip.style.left=left+'px';"
    "tip.style.top=(r.top-f.getBoundingClientRect().top+q[2]/k+6)+'px'})});\n";

void lct_page_script(lct_html *h) {
  lct_html_raw(h, "<script>\n");
  lct_html_raw(h, SCRIPT);
  lct_html_raw(h, "</script>\n");
}
